"""A purchase with virtual currency, as one call of the database."""

from django.db import migrations

BUY = """
-- Buy an offer: post its lines, count its limit, keep the purchase, record the server events.
--
-- What store_post answers, and the status limit_reached (subject: how many are left). The lock on
-- the player makes the count exact. p_price and p_granted are totals, by key.
CREATE FUNCTION store_buy(
    p_id uuid, p_game uuid, p_player uuid, p_kind text, p_key text, p_fingerprint bytea,
    p_reason text, p_reference text,
    p_currencies bigint[], p_amounts bigint[], p_modes text[], p_accounts text[], p_maxima bigint[],
    p_items bigint[], p_quantities bigint[], p_stack_maxima bigint[], p_most_stacks int,
    p_clip boolean,
    p_offer uuid, p_quantity int, p_limit int, p_price jsonb, p_granted jsonb, p_session uuid,
    OUT status text, OUT subject bigint, OUT posted_id uuid, OUT posted_at timestamptz,
    OUT wallet_currencies bigint[], OUT wallet_paid bigint[], OUT wallet_earned bigint[],
    OUT amounts bigint[], OUT quantities bigint[], OUT stacks bigint[]
) LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
DECLARE
    v_left bigint;
    v_posting record;
    v_currency text;
    v_amount jsonb;
BEGIN
    IF p_limit IS NOT NULL THEN
        PERFORM 1 FROM accounts_player WHERE id = p_player AND game_id = p_game FOR NO KEY UPDATE;
        SELECT p_limit - coalesce(max(u.quantity), 0) INTO v_left
        FROM store_offeruse u WHERE u.player_id = p_player AND u.offer_id = p_offer;
        IF p_quantity > v_left THEN
            PERFORM 1 FROM store_transaction t WHERE t.game_id = p_game AND t.key = p_key;
            IF NOT FOUND THEN
                status := 'limit_reached';
                subject := greatest(0, v_left);
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
    UPDATE store_offeruse u SET quantity = u.quantity + p_quantity
    WHERE u.player_id = p_player AND u.offer_id = p_offer;
    IF NOT FOUND THEN
        INSERT INTO store_offeruse (player_id, offer_id, quantity)
        VALUES (p_player, p_offer, p_quantity);
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


class Migration(migrations.Migration):
    dependencies = [("store", "0002_ledger")]

    operations = [migrations.RunSQL(BUY, "DROP FUNCTION store_buy")]
