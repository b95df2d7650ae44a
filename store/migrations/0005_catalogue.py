"""What offers and items can say beyond a price."""

from importlib import import_module

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models
from django.db.models import Q

MAY_BUY = """
-- Why a player may not buy now: limit_reached (subject: how many are left), cooling_down (subject:
-- for how many seconds), requirement_not_met (subject: how many of p_required are not bought).
-- NULL: nothing speaks against it. The caller holds the player's lock.
--
-- p_period: when the running period of the limit began; NULL: the limit is for ever.
CREATE FUNCTION store_may_buy(
    p_player uuid, p_offer uuid, p_quantity int, p_limit int, p_period timestamptz,
    p_cooldown int, p_required uuid[], OUT status text, OUT subject bigint
) LANGUAGE plpgsql AS $$
DECLARE
    v_use store_offeruse%ROWTYPE;
    v_left bigint;
    v_wait double precision;
BEGIN
    IF cardinality(p_required) > 0 THEN
        SELECT count(*) INTO subject FROM unnest(p_required) AS required (offer_id)
        WHERE NOT EXISTS (
            SELECT 1 FROM store_offeruse u
            WHERE u.player_id = p_player AND u.offer_id = required.offer_id
        ) AND NOT EXISTS (
            SELECT 1 FROM store_platformpurchase p
            WHERE p.player_id = p_player AND p.offer_id = required.offer_id
              AND p.state IN ('granted', 'partially_revoked')
        );
        IF subject > 0 THEN
            status := 'requirement_not_met';
            RETURN;
        END IF;
    END IF;
    IF p_limit IS NULL AND p_cooldown IS NULL THEN
        RETURN;
    END IF;
    SELECT * INTO v_use FROM store_offeruse u
    WHERE u.player_id = p_player AND u.offer_id = p_offer;
    v_left := p_limit - CASE
        WHEN p_period IS NULL THEN coalesce(v_use.quantity, 0)
        WHEN v_use.last_at >= p_period THEN v_use.period_quantity
        ELSE 0 END;
    IF p_quantity > v_left THEN
        status := 'limit_reached';
        subject := greatest(0, v_left);
        RETURN;
    END IF;
    v_wait := extract(epoch FROM v_use.last_at - clock_timestamp()) + p_cooldown;
    IF v_wait > 0 THEN
        status := 'cooling_down';
        subject := ceil(v_wait);
    END IF;
END $$;
"""

# From the earlier function, with what has to hold before and what is counted after.
BUY = """
-- Buy an offer: post its lines, count its limit, keep the purchase, record the server events.
--
-- What store_post and store_may_buy answer. The lock on the player makes what the latter counts
-- exact. p_price and p_granted are totals, by key.
CREATE FUNCTION store_buy(
    p_id uuid, p_game uuid, p_player uuid, p_kind text, p_key text, p_fingerprint bytea,
    p_reason text, p_reference text,
    p_currencies bigint[], p_amounts bigint[], p_modes text[], p_accounts text[], p_maxima bigint[],
    p_items bigint[], p_quantities bigint[], p_stack_maxima bigint[], p_most_stacks int,
    p_clip boolean,
    p_offer uuid, p_quantity int, p_limit int, p_period timestamptz, p_cooldown int,
    p_required uuid[], p_price jsonb, p_granted jsonb, p_session uuid,
    OUT status text, OUT subject bigint, OUT posted_id uuid, OUT posted_at timestamptz,
    OUT wallet_currencies bigint[], OUT wallet_paid bigint[], OUT wallet_earned bigint[],
    OUT amounts bigint[], OUT quantities bigint[], OUT stacks bigint[]
) LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
DECLARE
    v_posting record;
    v_currency text;
    v_amount jsonb;
BEGIN
    IF p_limit IS NOT NULL OR p_cooldown IS NOT NULL OR cardinality(p_required) > 0 THEN
        PERFORM 1 FROM accounts_player WHERE id = p_player AND game_id = p_game FOR NO KEY UPDATE;
        SELECT m.status, m.subject INTO status, subject
        FROM store_may_buy(
            p_player, p_offer, p_quantity, p_limit, p_period, p_cooldown, p_required) m;
        IF status IS NOT NULL THEN
            PERFORM 1 FROM store_transaction t WHERE t.game_id = p_game AND t.key = p_key;
            IF NOT FOUND THEN
                RETURN;
            END IF;
        END IF;
    END IF;

    v_posting := store_post(
        p_id, p_game, p_player, p_kind, p_key, p_fingerprint, p_reason, p_reference, p_currencies,
        p_amounts, p_modes, p_accounts, p_maxima, p_items, p_quantities, p_stack_maxima,
        p_most_stacks, p_clip);
    status := v_posting.status;
    subject := v_posting.subject;
    posted_id := v_posting.posted_id;
    posted_at := v_posting.posted_at;
    wallet_currencies := v_posting.wallet_currencies;
    wallet_paid := v_posting.wallet_paid;
    wallet_earned := v_posting.wallet_earned;
    amounts := v_posting.amounts;
    quantities := v_posting.quantities;
    stacks := v_posting.stacks;
    IF status <> 'posted' THEN
        RETURN;
    END IF;

    -- Offers without a limit are counted too: one may get a limit later.
    UPDATE store_offeruse u
    SET quantity = u.quantity + p_quantity,
        period_quantity = p_quantity
            + CASE WHEN u.last_at < p_period THEN 0 ELSE u.period_quantity END,
        last_at = greatest(u.last_at, posted_at, p_period)
    WHERE u.player_id = p_player AND u.offer_id = p_offer;
    IF NOT FOUND THEN
        INSERT INTO store_offeruse (player_id, offer_id, quantity, period_quantity, last_at)
        VALUES (p_player, p_offer, p_quantity, p_quantity, greatest(posted_at, p_period));
    END IF;

    INSERT INTO store_purchase
        (id, game_id, player_id, offer_id, quantity, price, granted, created_at)
    VALUES (p_id, p_game, p_player, p_offer, p_quantity, p_price, p_granted, posted_at);

    PERFORM analytics_record(
        p_game, p_player, 'purchase',
        jsonb_build_object('id', p_id, 'offer', p_reference, 'quantity', p_quantity,
                           'price', p_price, 'granted', p_granted), p_session);
    FOR v_currency, v_amount IN SELECT key, value FROM jsonb_each(p_price) LOOP
        PERFORM analytics_record(
            p_game, p_player, 'currency_sink',
            jsonb_build_object('currency', v_currency, 'amount', v_amount, 'account',
                               'sink:purchase', 'offer', p_reference), p_session);
    END LOOP;
    FOR v_currency, v_amount IN SELECT key, value FROM jsonb_each(p_granted -> 'currencies') LOOP
        PERFORM analytics_record(
            p_game, p_player, 'currency_source',
            jsonb_build_object('currency', v_currency, 'amount', v_amount, 'account',
                               'source:purchase', 'offer', p_reference), p_session);
    END LOOP;
END $$;
"""

# Found by their names: each has one set of parameters at a time.
NEW = "DROP FUNCTION store_buy;" + MAY_BUY + BUY
OLD = (
    "DROP FUNCTION store_buy; DROP FUNCTION store_may_buy;"
    + import_module("store.migrations.0003_purchases").BUY
)

TEXTS = ("titles", "descriptions", "properties")


def mapping() -> "models.JSONField[object, object]":
    return models.JSONField(blank=True, db_default={}, default=dict)


def optional() -> "models.JSONField[object, object]":
    return models.JSONField(blank=True, null=True)


class Migration(migrations.Migration):
    dependencies = [("store", "0004_orders")]

    operations = [
        migrations.CreateModel(
            name="Storefront",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("key", models.CharField(max_length=64)),
                ("offers", models.JSONField(blank=True, default=list)),
                ("draft", models.JSONField(blank=True, editable=False, null=True)),
                ("is_active", models.BooleanField(default=True)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                (
                    "game",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.game",
                    ),
                ),
            ],
            options={
                "verbose_name": "store",
                "constraints": [
                    models.UniqueConstraint(fields=("game", "key"), name="store_storefront_once")
                ],
            },
        ),
        *(
            migrations.AddField(model, name, mapping())
            for model in ("item", "offer")
            for name in TEXTS
        ),
        migrations.AddField("item", "contents", mapping()),
        migrations.AddField("offer", "requires", mapping()),
        migrations.AddField(
            "offer", "other_prices", models.JSONField(blank=True, db_default=[], default=list)
        ),
        migrations.AddField("offer", "schedule", optional()),
        migrations.AddField("offer", "sale", optional()),
        migrations.AddField(
            "offer", "is_listed", models.BooleanField(db_default=True, default=True)
        ),
        migrations.AddField(
            "offer",
            "limit_reset",
            models.CharField(blank=True, db_default="", default="", max_length=100),
        ),
        migrations.AddField(
            "offer", "cooldown_seconds", models.PositiveIntegerField(blank=True, null=True)
        ),
        *(
            migrations.AddField(
                model, "draft", models.JSONField(blank=True, editable=False, null=True)
            )
            for model in ("item", "offer")
        ),
        migrations.AddField(
            "offeruse", "period_quantity", models.PositiveIntegerField(db_default=0, default=0)
        ),
        migrations.AddField("offeruse", "last_at", models.DateTimeField(null=True)),
        migrations.AddConstraint(
            "offer",
            models.CheckConstraint(
                condition=Q(cooldown_seconds=None) | Q(cooldown_seconds__gte=1),
                name="store_offer_cooldown",
            ),
        ),
        migrations.RemoveConstraint("item", "store_item_kind"),
        migrations.AddConstraint(
            "item",
            models.CheckConstraint(
                condition=Q(kind__in=("durable", "consumable", "bundle")), name="store_item_kind"
            ),
        ),
        migrations.AlterField(
            "item",
            "kind",
            models.CharField(
                choices=[
                    ("durable", "Durable"),
                    ("consumable", "Consumable"),
                    ("bundle", "Bundle"),
                ],
                default="durable",
                max_length=10,
            ),
        ),
        migrations.RunSQL(NEW, OLD),
    ]
