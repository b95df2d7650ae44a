"""One function posts a purchase too, and checks cost less (docs/adr/0078)."""

from importlib import import_module

from django.db import migrations

_ledger = import_module("store.migrations.0002_ledger")
_catalogue = import_module("store.migrations.0005_catalogue")

POST = """
-- Post one transaction of one player: all of it, or nothing with a status that says why.
--
-- The player's row is locked first, so that everything about one player's value happens one after
-- the other, also for rows that do not exist yet. Nothing is locked after it but what it guards.
-- A lock that is not to be had in five seconds is an error (55P03), and the caller asks again.
--
-- Lines: p_modes 'earned' and 'paid' credit the wallet (a debt is repaid first), 'spend' debits it
-- (earned before paid), 'refund' debits it (paid before earned) and may leave a debt.
-- p_quantities are signed. p_most_stacks: how many stacks a player may have, where that has to be
-- looked at. p_clip: what does not fit below a maximum is left out, not refused.
--
-- With p_offer it is a purchase: what store_may_buy asks for has to hold, and store_keep_purchase
-- writes it down. p_price and p_granted are totals, by key.
--
-- status: posted, replayed (the key was used for the same: posted_id is the first outcome),
-- key_reused (for something else), no_player, insufficient_funds, balance_limit,
-- insufficient_items, stack_limit (subject: the currency's or item's id), and what store_may_buy
-- answers.
-- wallet_*: the player's whole wallet after it. amounts, quantities, stacks: by line, what was
-- moved and what the stack holds then.
--
-- enable_seqscan: a connection keeps its plans, and tables that are small today are large
-- tomorrow. Everything here is found by a key.
CREATE FUNCTION store_post(
    p_id uuid, p_game uuid, p_player uuid, p_kind text, p_key text, p_fingerprint bytea,
    p_reason text, p_reference text,
    p_currencies bigint[], p_amounts bigint[], p_modes text[], p_accounts text[], p_maxima bigint[],
    p_items bigint[], p_quantities bigint[], p_stack_maxima bigint[], p_most_stacks int,
    p_clip boolean,
    p_offer uuid DEFAULT NULL, p_quantity int DEFAULT NULL, p_limit int DEFAULT NULL,
    p_period timestamptz DEFAULT NULL, p_cooldown int DEFAULT NULL,
    p_required uuid[] DEFAULT NULL, p_price jsonb DEFAULT NULL, p_granted jsonb DEFAULT NULL,
    p_session uuid DEFAULT NULL,
    OUT status text, OUT subject bigint, OUT posted_id uuid, OUT posted_at timestamptz,
    OUT wallet_currencies bigint[], OUT wallet_paid bigint[], OUT wallet_earned bigint[],
    OUT amounts bigint[], OUT quantities bigint[], OUT stacks bigint[]
) LANGUAGE plpgsql
SET evenkeel.ledger = 'posting' SET lock_timeout = '5s' SET enable_seqscan = off AS $$
DECLARE
    v_game uuid;
    v_consent boolean;
    v_tester boolean;
    v_country text;
    v_platform text;
    v_app_version text;
    v_used bigint;
    v_used_in_period bigint;
    v_used_at timestamptz;
    v_refusal record;
    v_first record;
    v_last timestamptz;
    v_last_stack timestamptz;
    v_touched boolean[];
    v_paid bigint[];
    v_earned bigint[];
    v_paid_after bigint[];
    v_earned_after bigint[];
    v_stack_items bigint[];
    v_stack_quantities bigint[];
    v_opened boolean := false;
    v_amount bigint;
    v_room bigint;
    v_held bigint;
    v_held_currencies int;
    v_p bigint;
    v_e bigint;
    i int;
    n int;
BEGIN
    amounts := '{}';
    quantities := '{}';
    stacks := '{}';
    -- By the id alone, so that no plan can take the index of the game's names.
    SELECT p.game_id, p.analytics_consent, p.is_tester, p.country
    INTO v_game, v_consent, v_tester, v_country
    FROM accounts_player p WHERE p.id = p_player FOR NO KEY UPDATE;
    IF v_game IS DISTINCT FROM p_game THEN
        status := 'no_player';
        RETURN;
    END IF;

    -- A statement of its own: its snapshot was taken with the lock held.
    SELECT w.*, s.*, u.quantity, u.period_quantity, u.last_at, a.platform, a.app_version
    INTO wallet_currencies, wallet_paid, wallet_earned, v_last,
         v_stack_items, v_stack_quantities, v_last_stack,
         v_used, v_used_in_period, v_used_at, v_platform, v_app_version
    FROM (
        SELECT coalesce(array_agg(b.currency_id), '{}'), coalesce(array_agg(b.paid), '{}'),
               coalesce(array_agg(b.earned), '{}'), max(b.updated_at)
        FROM store_balance b WHERE b.player_id = p_player
    ) w CROSS JOIN (
        SELECT coalesce(array_agg(h.item_id), '{}'), coalesce(array_agg(h.quantity), '{}'),
               max(h.updated_at)
        FROM store_stack h WHERE h.player_id = p_player AND h.item_id = ANY (p_items)
    ) s
    LEFT JOIN store_offeruse u ON u.player_id = p_player AND u.offer_id = p_offer
    LEFT JOIN accounts_session a ON a.id = p_session AND a.player_id = p_player;

    <<checks>>
    BEGIN
        IF p_limit IS NOT NULL OR p_cooldown IS NOT NULL OR cardinality(p_required) > 0 THEN
            v_refusal := store_may_buy(
                p_player, p_quantity, p_limit, p_period, p_cooldown, p_required,
                v_used, v_used_in_period, v_used_at);
            status := v_refusal.status;
            subject := v_refusal.subject;
            EXIT checks WHEN status IS NOT NULL;
        END IF;

        IF p_kind <> 'initial' AND NOT p_currencies <@ wallet_currencies THEN
            FOR i IN 1 .. cardinality(p_currencies) LOOP
                IF array_position(wallet_currencies, p_currencies[i]) IS NULL THEN
                    v_opened := store_open(p_game, p_player, p_currencies[i]) OR v_opened;
                END IF;
            END LOOP;
            IF v_opened THEN
                SELECT array_agg(b.currency_id), array_agg(b.paid), array_agg(b.earned),
                       max(b.updated_at)
                INTO wallet_currencies, wallet_paid, wallet_earned, v_last
                FROM store_balance b WHERE b.player_id = p_player;
            END IF;
        END IF;

        v_held_currencies := cardinality(wallet_currencies);
        FOR i IN 1 .. cardinality(p_currencies) LOOP
            n := array_position(wallet_currencies, p_currencies[i]);
            IF n IS NULL THEN
                n := cardinality(wallet_currencies) + 1;
                wallet_currencies[n] := p_currencies[i];
                wallet_paid[n] := 0;
                wallet_earned[n] := 0;
            END IF;
            v_amount := p_amounts[i];
            IF p_modes[i] IN ('earned', 'paid') THEN
                -- Both parts are at least 0 or the whole is a debt, so this can't overflow.
                v_room := p_maxima[i] - greatest(0, wallet_paid[n] + wallet_earned[n]);
                IF v_amount > v_room THEN
                    IF NOT p_clip THEN
                        status := 'balance_limit';
                        subject := p_currencies[i];
                        EXIT checks;
                    END IF;
                    v_amount := greatest(0, v_room);
                END IF;
                v_p := CASE WHEN p_modes[i] = 'paid' THEN v_amount
                            ELSE least(v_amount, greatest(0, -wallet_paid[n])) END;
                v_e := v_amount - v_p;
            ELSIF p_modes[i] = 'spend' THEN
                IF wallet_paid[n] < 0 OR wallet_paid[n] + wallet_earned[n] < v_amount THEN
                    status := 'insufficient_funds';
                    subject := p_currencies[i];
                    EXIT checks;
                END IF;
                v_e := -least(v_amount, wallet_earned[n]);
                v_p := -(v_amount + v_e);
            ELSIF p_modes[i] = 'refund' THEN
                v_p := least(v_amount, greatest(0, wallet_paid[n]));
                v_e := -least(v_amount - v_p, wallet_earned[n]);
                v_p := -(v_amount + v_e);
            ELSE
                RAISE EXCEPTION 'store_post: unknown mode %', p_modes[i];
            END IF;
            wallet_paid[n] := wallet_paid[n] + v_p;
            wallet_earned[n] := wallet_earned[n] + v_e;
            IF v_amount > 0 THEN
                v_touched[n] := true;
            END IF;
            v_paid[i] := v_p;
            v_earned[i] := v_e;
            v_paid_after[i] := wallet_paid[n];
            v_earned_after[i] := wallet_earned[n];
            amounts[i] := v_amount;
        END LOOP;

        FOR i IN 1 .. cardinality(p_items) LOOP
            v_amount := p_quantities[i];
            n := array_position(v_stack_items, p_items[i]);
            v_room := coalesce(v_stack_quantities[n], 0);
            IF v_amount < 0 AND v_room + v_amount < 0 THEN
                status := 'insufficient_items';
                subject := p_items[i];
                EXIT checks;
            END IF;
            IF v_amount > 0 AND v_amount > p_stack_maxima[i] - v_room THEN
                IF NOT p_clip THEN
                    status := 'stack_limit';
                    subject := p_items[i];
                    EXIT checks;
                END IF;
                v_amount := greatest(0, p_stack_maxima[i] - v_room);
            END IF;
            IF v_amount > 0 AND n IS NULL AND p_most_stacks IS NOT NULL THEN
                v_held := coalesce(
                    v_held, (SELECT count(*) FROM store_stack s WHERE s.player_id = p_player)) + 1;
                IF v_held > p_most_stacks THEN
                    IF NOT p_clip THEN
                        status := 'stack_limit';
                        subject := p_items[i];
                        EXIT checks;
                    END IF;
                    v_amount := 0;
                END IF;
            END IF;
            quantities[i] := v_amount;
            stacks[i] := v_room + v_amount;
        END LOOP;

        -- No two postings of a player share a time: histories have one order, and a balance's
        -- updated_at names its latest entries.
        posted_at := greatest(clock_timestamp(), transaction_timestamp(),
                              v_last + interval '1 microsecond',
                              v_last_stack + interval '1 microsecond');
        -- Claims the key. It is only looked up where that fails, or where something is refused.
        INSERT INTO store_transaction
            (id, game_id, player_id, kind, key, fingerprint, reason, reference, created_at)
        VALUES
            (p_id, p_game, p_player, p_kind, p_key, p_fingerprint, p_reason, p_reference, posted_at)
        ON CONFLICT (game_id, key) DO NOTHING;
        IF FOUND THEN
            status := 'posted';
        END IF;
    END checks;

    IF status IS DISTINCT FROM 'posted' THEN
        -- A repetition has the first outcome, whatever would be refused by now.
        SELECT t.id, t.created_at,
               CASE WHEN t.fingerprint IS NOT DISTINCT FROM p_fingerprint
                    THEN 'replayed' ELSE 'key_reused' END AS outcome
        INTO v_first
        FROM store_transaction t WHERE t.game_id = p_game AND t.key = p_key;
        IF FOUND THEN
            status := v_first.outcome;
            posted_id := v_first.id;
            posted_at := v_first.created_at;
            amounts := '{}';
            quantities := '{}';
            stacks := '{}';
            SELECT coalesce(array_agg(b.currency_id), '{}'), coalesce(array_agg(b.paid), '{}'),
                   coalesce(array_agg(b.earned), '{}')
            INTO wallet_currencies, wallet_paid, wallet_earned
            FROM store_balance b WHERE b.player_id = p_player;
        END IF;
        RETURN;
    END IF;
    posted_id := p_id;

    -- Single rows, and UPDATE where the row is known to be there: upserts and rows in bulk cost
    -- more than twice as much.
    FOR n IN 1 .. cardinality(wallet_currencies) LOOP
        CONTINUE WHEN v_touched[n] IS NOT TRUE;
        IF n <= v_held_currencies THEN
            UPDATE store_balance
            SET paid = wallet_paid[n], earned = wallet_earned[n], in_debt = wallet_paid[n] < 0,
                updated_at = posted_at
            WHERE player_id = p_player AND currency_id = wallet_currencies[n];
        ELSE
            INSERT INTO store_balance (player_id, currency_id, paid, earned, in_debt, updated_at)
            VALUES (p_player, wallet_currencies[n], wallet_paid[n], wallet_earned[n],
                    wallet_paid[n] < 0, posted_at);
        END IF;
    END LOOP;
    FOR i IN 1 .. cardinality(p_currencies) LOOP
        CONTINUE WHEN amounts[i] = 0;
        INSERT INTO store_entry (created_at, id, transaction_id, currency_id, account, player_id,
                                 paid, earned, paid_after, earned_after)
        VALUES
            (posted_at, store_uuid7(), p_id, p_currencies[i], 'wallet', p_player,
             v_paid[i], v_earned[i], v_paid_after[i], v_earned_after[i]),
            (posted_at, store_uuid7(), p_id, p_currencies[i], p_accounts[i], NULL,
             -v_paid[i], -v_earned[i], NULL, NULL);
    END LOOP;
    FOR i IN 1 .. cardinality(p_items) LOOP
        CONTINUE WHEN quantities[i] = 0;
        IF p_items[i] = ANY (v_stack_items) THEN
            UPDATE store_stack SET quantity = stacks[i], updated_at = posted_at
            WHERE player_id = p_player AND item_id = p_items[i];
        ELSE
            INSERT INTO store_stack (player_id, item_id, quantity, updated_at)
            VALUES (p_player, p_items[i], stacks[i], posted_at);
        END IF;
        INSERT INTO store_stackmovement
            (created_at, id, transaction_id, player_id, item_id, quantity, quantity_after)
        VALUES (posted_at, store_uuid7(), p_id, p_player, p_items[i], quantities[i], stacks[i]);
    END LOOP;

    IF p_offer IS NOT NULL THEN
        PERFORM store_keep_purchase(
            p_id, p_game, p_player, p_reference, p_offer, p_quantity, p_period, p_price, p_granted,
            p_session, posted_at, v_used IS NOT NULL, v_consent, v_tester,
            coalesce(v_platform, ''), v_country, coalesce(v_app_version, ''));
    END IF;
END $$;
"""

MAY_BUY = """
-- Why a player may not buy now: limit_reached (subject: how many are left), cooling_down (subject:
-- for how many seconds), requirement_not_met (subject: how many of p_required are not bought).
-- NULL: nothing speaks against it. The caller holds the player's lock.
--
-- p_period: when the running period of the limit began; NULL: the limit is for ever.
-- p_used, p_used_in_period, p_used_at: what store_offeruse says; NULL where there is no row.
CREATE FUNCTION store_may_buy(
    p_player uuid, p_quantity int, p_limit int, p_period timestamptz, p_cooldown int,
    p_required uuid[], p_used bigint, p_used_in_period bigint, p_used_at timestamptz,
    OUT status text, OUT subject bigint
) LANGUAGE plpgsql AS $$
DECLARE
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
    v_left := p_limit - CASE
        WHEN p_period IS NULL THEN coalesce(p_used, 0)
        WHEN p_used_at >= p_period THEN p_used_in_period
        ELSE 0 END;
    IF p_quantity > v_left THEN
        status := 'limit_reached';
        subject := greatest(0, v_left);
        RETURN;
    END IF;
    IF p_cooldown IS NOT NULL THEN
        v_wait := extract(epoch FROM p_used_at - clock_timestamp()) + p_cooldown;
        IF v_wait > 0 THEN
            status := 'cooling_down';
            subject := ceil(v_wait);
        END IF;
    END IF;
END $$;
"""

KEEP_PURCHASE = """
-- The rest of a purchase that store_post has posted: count it, keep it, record its server events.
--
-- Offers without a limit are counted too: one may get a limit later. p_counted: there is a row.
CREATE FUNCTION store_keep_purchase(
    p_id uuid, p_game uuid, p_player uuid, p_reference text, p_offer uuid, p_quantity int,
    p_period timestamptz, p_price jsonb, p_granted jsonb, p_session uuid, p_at timestamptz,
    p_counted boolean, p_consent boolean, p_tester boolean,
    p_platform text, p_country text, p_app_version text
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_props jsonb;
BEGIN
    IF p_counted THEN
        UPDATE store_offeruse u
        SET quantity = u.quantity + p_quantity,
            period_quantity = p_quantity
                + CASE WHEN u.last_at < p_period THEN 0 ELSE u.period_quantity END,
            last_at = greatest(u.last_at, p_at, p_period)
        WHERE u.player_id = p_player AND u.offer_id = p_offer;
    ELSE
        INSERT INTO store_offeruse (player_id, offer_id, quantity, period_quantity, last_at)
        VALUES (p_player, p_offer, p_quantity, p_quantity, greatest(p_at, p_period));
    END IF;

    INSERT INTO store_purchase
        (id, game_id, player_id, offer_id, quantity, price, granted, created_at)
    VALUES (p_id, p_game, p_player, p_offer, p_quantity, p_price, p_granted, p_at);

    -- Without the player's agreement nothing may name the purchase.
    v_props := jsonb_build_object('offer', p_reference, 'quantity', p_quantity, 'price', p_price,
                                  'granted', p_granted);
    IF p_consent THEN
        v_props := v_props || jsonb_build_object('id', p_id);
    END IF;
    PERFORM analytics_record_for(
        p_game, p_player, p_consent, p_tester, p_platform, p_country, p_app_version,
        'purchase', v_props, p_session, p_at);
    PERFORM analytics_record_for(
        p_game, p_player, p_consent, p_tester, p_platform, p_country, p_app_version,
        'currency_sink',
        jsonb_build_object('currency', paid.key, 'amount', paid.value, 'account', 'sink:purchase',
                           'offer', p_reference),
        p_session, p_at)
    FROM jsonb_each(p_price) paid;
    IF p_granted -> 'currencies' <> '{}' THEN
        PERFORM analytics_record_for(
            p_game, p_player, p_consent, p_tester, p_platform, p_country, p_app_version,
            'currency_source',
            jsonb_build_object('currency', given.key, 'amount', given.value,
                               'account', 'source:purchase', 'offer', p_reference),
            p_session, p_at)
        FROM jsonb_each(p_granted -> 'currencies') given;
    END IF;
END $$;
"""

# One check for a statement's entries, at once, from the rows that it has added: the earlier one
# asked all partitions of the table for every row, at commit.
CHECK_ENTRIES = """
-- The entries of one statement add up to zero, for each transaction and currency, of paid and of
-- earned; and an entry of a wallet belongs to a transaction of the same time that is being made,
-- and to a balance that was moved.
CREATE FUNCTION store_check_entries() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_wrong uuid;
BEGIN
    SELECT e.transaction_id INTO v_wrong FROM added e
    GROUP BY e.created_at, e.transaction_id, e.currency_id
    HAVING sum(e.paid) <> 0 OR sum(e.earned) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'ledger transaction % is not balanced', v_wrong
            USING ERRCODE = 'check_violation', CONSTRAINT = 'store_entry_balanced';
    END IF;
    SELECT e.id INTO v_wrong FROM added e
    WHERE e.player_id IS NOT NULL AND (e.created_at < transaction_timestamp() OR NOT EXISTS (
        SELECT FROM store_balance b, store_transaction t
        WHERE b.player_id = e.player_id AND b.currency_id = e.currency_id
          AND b.updated_at >= e.created_at
          AND t.id = e.transaction_id AND t.created_at = e.created_at)) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % has no transaction, or its balance was not moved', v_wrong
            USING ERRCODE = 'check_violation', CONSTRAINT = 'store_entry_balanced';
    END IF;
    RETURN NULL;
END $$;
"""
# Not inherited by partitions: a statement that names one has to be checked as well. New ones get
# theirs from store.models.GUARD_ENTRIES.
ENTRY_TRIGGERS = """
DROP TRIGGER store_entry_balanced ON store_entry;
DROP FUNCTION store_check_entry;
DO $$
DECLARE
    v_table regclass;
BEGIN
    FOR v_table IN SELECT relid FROM pg_partition_tree('store_entry') LOOP
        EXECUTE format(
            'CREATE TRIGGER store_entry_balanced AFTER INSERT ON %s REFERENCING NEW TABLE AS added '
            'FOR EACH STATEMENT EXECUTE FUNCTION store_check_entries()', v_table);
    END LOOP;
END $$;
"""
NO_ENTRY_TRIGGERS = """
DO $$
DECLARE
    v_table regclass;
BEGIN
    FOR v_table IN SELECT relid FROM pg_partition_tree('store_entry') LOOP
        EXECUTE format('DROP TRIGGER store_entry_balanced ON %s', v_table);
    END LOOP;
END $$;
DROP FUNCTION store_check_entries;
"""

# What is asked for at commit runs outside of store_post, and keeps its plans just as long. They
# find the month at each call; planned anew at each call, they cost the more the more months there
# are.
PLANS = """
ALTER FUNCTION store_check_balance SET enable_seqscan = off;
ALTER FUNCTION store_check_balance SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION store_check_stack SET enable_seqscan = off;
ALTER FUNCTION store_check_stack SET plan_cache_mode = force_generic_plan;
"""

_CHECK_ENTRY = _ledger.HELD.partition("-- A balance changes by")[0]

# Found by their names: each has one set of parameters at a time.
NEW = (
    "DROP FUNCTION store_buy; DROP FUNCTION store_may_buy; DROP FUNCTION store_post;"
    + MAY_BUY
    + KEEP_PURCHASE
    + POST
    + CHECK_ENTRIES
    + ENTRY_TRIGGERS
    + PLANS
)
OLD = (
    "DROP FUNCTION store_post; DROP FUNCTION store_keep_purchase; DROP FUNCTION store_may_buy;"
    "ALTER FUNCTION store_check_balance RESET ALL;"
    "ALTER FUNCTION store_check_stack RESET ALL;"
    + NO_ENTRY_TRIGGERS
    + _CHECK_ENTRY
    # As they stood there.
    + _ledger.POST.partition("-- Give the balance that a player begins with")[0]
    + _catalogue.MAY_BUY
    + _catalogue.BUY
)


class Migration(migrations.Migration):
    dependencies = [
        ("store", "0007_subscriptions"),
        ("analytics", "0003_known_players"),
    ]

    operations = [migrations.RunSQL(NEW, OLD)]
