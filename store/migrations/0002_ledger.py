"""The ledger's function and the triggers that hold its invariants; docs/ledger.md explains them."""

from django.db import migrations

UUID7 = """
-- UUIDv7 (RFC 9562): 48 bits of milliseconds, version and variant bits, the rest random.
CREATE FUNCTION store_uuid7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                    PLACING substring(int8send(floor(
                        extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                    FROM 1 FOR 6),
            52, 1), 53, 1), 'hex')::uuid
$$;
"""

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
-- status: posted, replayed (the key was used for the same: posted_id is the first outcome),
-- key_reused (for something else), no_player, insufficient_funds, balance_limit,
-- insufficient_items, stack_limit (subject: the currency's or item's id).
-- wallet_*: the player's whole wallet after it. amounts, quantities, stacks: by line, what was
-- moved and what the stack holds then.
CREATE FUNCTION store_post(
    p_id uuid, p_game uuid, p_player uuid, p_kind text, p_key text, p_fingerprint bytea,
    p_reason text, p_reference text,
    p_currencies bigint[], p_amounts bigint[], p_modes text[], p_accounts text[], p_maxima bigint[],
    p_items bigint[], p_quantities bigint[], p_stack_maxima bigint[], p_most_stacks int,
    p_clip boolean,
    OUT status text, OUT subject bigint, OUT posted_id uuid, OUT posted_at timestamptz,
    OUT wallet_currencies bigint[], OUT wallet_paid bigint[], OUT wallet_earned bigint[],
    OUT amounts bigint[], OUT quantities bigint[], OUT stacks bigint[]
) LANGUAGE plpgsql SET evenkeel.ledger = 'posting' SET lock_timeout = '5s' AS $$
DECLARE
    v_fingerprint bytea;
    v_last timestamptz;
    v_last_stack timestamptz;
    v_touched boolean[] := '{}';
    v_paid bigint[] := '{}';
    v_earned bigint[] := '{}';
    v_paid_after bigint[] := '{}';
    v_earned_after bigint[] := '{}';
    v_stack_items bigint[] := '{}';
    v_stack_quantities bigint[] := '{}';
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
    PERFORM 1 FROM accounts_player WHERE id = p_player AND game_id = p_game FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        status := 'no_player';
        RETURN;
    END IF;

    SELECT t.id, t.created_at, t.fingerprint INTO posted_id, posted_at, v_fingerprint
    FROM store_transaction t WHERE t.game_id = p_game AND t.key = p_key;
    IF FOUND THEN
        status := CASE WHEN v_fingerprint IS NOT DISTINCT FROM p_fingerprint
                       THEN 'replayed' ELSE 'key_reused' END;
        SELECT coalesce(array_agg(b.currency_id), '{}'), coalesce(array_agg(b.paid), '{}'),
               coalesce(array_agg(b.earned), '{}'), max(b.updated_at)
        INTO wallet_currencies, wallet_paid, wallet_earned, v_last
        FROM store_balance b WHERE b.player_id = p_player;
        RETURN;
    END IF;

    SELECT coalesce(array_agg(b.currency_id), '{}'), coalesce(array_agg(b.paid), '{}'),
           coalesce(array_agg(b.earned), '{}'), max(b.updated_at)
    INTO wallet_currencies, wallet_paid, wallet_earned, v_last
    FROM store_balance b WHERE b.player_id = p_player;

    IF p_kind <> 'initial' AND NOT p_currencies <@ wallet_currencies THEN
        FOR i IN 1 .. cardinality(p_currencies) LOOP
            IF array_position(wallet_currencies, p_currencies[i]) IS NULL THEN
                v_opened := store_open(p_game, p_player, p_currencies[i]) OR v_opened;
            END IF;
        END LOOP;
        IF v_opened THEN
            SELECT coalesce(array_agg(b.currency_id), '{}'), coalesce(array_agg(b.paid), '{}'),
                   coalesce(array_agg(b.earned), '{}'), max(b.updated_at)
            INTO wallet_currencies, wallet_paid, wallet_earned, v_last
            FROM store_balance b WHERE b.player_id = p_player;
        END IF;
    END IF;

    v_held_currencies := cardinality(wallet_currencies);
    v_touched := array_fill(false, ARRAY[cardinality(wallet_currencies)]);
    FOR i IN 1 .. cardinality(p_currencies) LOOP
        n := array_position(wallet_currencies, p_currencies[i]);
        IF n IS NULL THEN
            wallet_currencies := wallet_currencies || p_currencies[i];
            wallet_paid := wallet_paid || 0::bigint;
            wallet_earned := wallet_earned || 0::bigint;
            v_touched := v_touched || false;
            n := cardinality(wallet_currencies);
        END IF;
        v_amount := p_amounts[i];
        IF p_modes[i] IN ('earned', 'paid') THEN
            -- Both parts are at least 0 or the whole is a debt, so this can't overflow.
            v_room := p_maxima[i] - greatest(0, wallet_paid[n] + wallet_earned[n]);
            IF v_amount > v_room THEN
                IF NOT p_clip THEN
                    status := 'balance_limit';
                    subject := p_currencies[i];
                    RETURN;
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
                RETURN;
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
        v_touched[n] := v_touched[n] OR v_amount > 0;
        v_paid := v_paid || v_p;
        v_earned := v_earned || v_e;
        v_paid_after := v_paid_after || wallet_paid[n];
        v_earned_after := v_earned_after || wallet_earned[n];
        amounts := amounts || v_amount;
    END LOOP;

    IF cardinality(p_items) > 0 THEN
        SELECT coalesce(array_agg(s.item_id), '{}'), coalesce(array_agg(s.quantity), '{}'),
               max(s.updated_at)
        INTO v_stack_items, v_stack_quantities, v_last_stack
        FROM store_stack s WHERE s.player_id = p_player AND s.item_id = ANY (p_items);
        FOR i IN 1 .. cardinality(p_items) LOOP
            v_amount := p_quantities[i];
            n := array_position(v_stack_items, p_items[i]);
            v_room := coalesce(v_stack_quantities[n], 0);
            IF v_amount < 0 AND v_room + v_amount < 0 THEN
                status := 'insufficient_items';
                subject := p_items[i];
                RETURN;
            END IF;
            IF v_amount > 0 AND v_amount > p_stack_maxima[i] - v_room THEN
                IF NOT p_clip THEN
                    status := 'stack_limit';
                    subject := p_items[i];
                    RETURN;
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
                        RETURN;
                    END IF;
                    v_amount := 0;
                END IF;
            END IF;
            quantities := quantities || v_amount;
            stacks := stacks || (v_room + v_amount);
        END LOOP;
    END IF;

    -- No two postings of a player share a time: histories have one order, and a balance's
    -- updated_at names its latest entries.
    posted_at := greatest(clock_timestamp(), transaction_timestamp(),
                          v_last + interval '1 microsecond',
                          v_last_stack + interval '1 microsecond');
    posted_id := p_id;
    INSERT INTO store_transaction
        (id, game_id, player_id, kind, key, fingerprint, reason, reference, created_at)
    VALUES (p_id, p_game, p_player, p_kind, p_key, p_fingerprint, p_reason, p_reference, posted_at)
    ON CONFLICT (game_id, key) DO NOTHING;
    IF NOT FOUND THEN
        -- The key was used for another player in this very moment.
        status := 'key_reused';
        posted_id := NULL;
        RETURN;
    END IF;

    -- Single rows, and UPDATE where the row is known to be there: upserts and rows in bulk cost
    -- more than twice as much.
    FOR n IN 1 .. cardinality(wallet_currencies) LOOP
        CONTINUE WHEN NOT v_touched[n];
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
        VALUES (posted_at, store_uuid7(), p_id, p_currencies[i], 'wallet', p_player,
                v_paid[i], v_earned[i], v_paid_after[i], v_earned_after[i]);
        INSERT INTO store_entry (created_at, id, transaction_id, currency_id, account, paid, earned)
        VALUES (posted_at, store_uuid7(), p_id, p_currencies[i], p_accounts[i],
                -v_paid[i], -v_earned[i]);
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
    status := 'posted';
END $$;

-- Give the balance that a player begins with in this currency. False where there is none to give.
CREATE FUNCTION store_open(p_game uuid, p_player uuid, p_currency bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    v_initial bigint;
    v_key text;
    v_posting record;
BEGIN
    SELECT initial, key INTO v_initial, v_key
    FROM store_currency WHERE id = p_currency AND game_id = p_game;
    IF coalesce(v_initial, 0) = 0 THEN
        RETURN false;
    END IF;
    v_posting := store_post(
        store_uuid7(), p_game, p_player, 'initial', 'initial:' || p_player || ':' || p_currency,
        NULL, 'initial', '', ARRAY[p_currency], ARRAY[v_initial], ARRAY['earned'],
        ARRAY['source:initial'], ARRAY[v_initial], '{}', '{}', '{}', NULL, false);
    IF v_posting.status = 'posted' THEN
        PERFORM analytics_record(
            p_game, p_player, 'currency_source',
            jsonb_build_object('currency', v_key, 'amount', v_initial, 'account',
                               'source:initial'));
    END IF;
    RETURN true;
END $$;
"""

APPEND_ONLY = """
CREATE FUNCTION store_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: the ledger is only ever added to, by store_post',
        TG_OP, TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER store_transaction_append_only BEFORE UPDATE OR DELETE ON store_transaction
    FOR EACH ROW EXECUTE FUNCTION store_refuse();
CREATE TRIGGER store_entry_append_only BEFORE UPDATE OR DELETE ON store_entry
    FOR EACH ROW EXECUTE FUNCTION store_refuse();
CREATE TRIGGER store_stackmovement_append_only BEFORE UPDATE OR DELETE ON store_stackmovement
    FOR EACH ROW EXECUTE FUNCTION store_refuse();
CREATE TRIGGER store_balance_kept BEFORE DELETE ON store_balance
    FOR EACH ROW EXECUTE FUNCTION store_refuse();
CREATE TRIGGER store_stack_kept BEFORE DELETE ON store_stack
    FOR EACH ROW EXECUTE FUNCTION store_refuse();
"""

# Only a database of tests may be emptied; its settings say so (config/settings/test.py).
TRUNCATE = """
CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT
    WHEN (current_setting('evenkeel.ledger_may_be_emptied', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION store_refuse();
"""
POSTED_ONLY = """
CREATE TRIGGER {table}_posted_only BEFORE INSERT{or_update} ON {table} FOR EACH ROW
    WHEN (current_setting('evenkeel.ledger', true) IS DISTINCT FROM 'posting')
    EXECUTE FUNCTION store_refuse();
"""

HELD = """
-- A transaction's entries add up to zero, for each currency, of paid and of earned; and an
-- entry of a wallet belongs to a balance that was moved in the same transaction.
CREATE FUNCTION store_check_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM store_entry
    WHERE created_at = NEW.created_at AND transaction_id = NEW.transaction_id
    GROUP BY currency_id HAVING sum(paid) <> 0 OR sum(earned) <> 0;
    IF FOUND THEN
        RAISE EXCEPTION 'ledger transaction % is not balanced', NEW.transaction_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'store_entry_balanced';
    END IF;
    IF NEW.player_id IS NOT NULL THEN
        PERFORM 1 FROM store_balance b, store_transaction t
        WHERE b.player_id = NEW.player_id AND b.currency_id = NEW.currency_id
          AND b.updated_at >= NEW.created_at AND NEW.created_at >= transaction_timestamp()
          AND t.id = NEW.transaction_id AND t.created_at = NEW.created_at;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'entry % has no transaction, or its balance was not moved', NEW.id
                USING ERRCODE = 'check_violation', CONSTRAINT = 'store_entry_balanced';
        END IF;
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER store_entry_balanced AFTER INSERT ON store_entry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION store_check_entry();

-- A balance changes by exactly its entries of the same time. From the first row on, it is
-- therefore the sum of all its entries.
CREATE FUNCTION store_check_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_paid numeric;
    v_earned numeric;
BEGIN
    SELECT coalesce(sum(paid), 0), coalesce(sum(earned), 0) INTO v_paid, v_earned
    FROM store_entry WHERE created_at = NEW.updated_at AND player_id = NEW.player_id
                       AND currency_id = NEW.currency_id;
    IF TG_OP = 'UPDATE' THEN
        v_paid := v_paid + OLD.paid;
        v_earned := v_earned + OLD.earned;
    END IF;
    IF v_paid <> NEW.paid OR v_earned <> NEW.earned
       OR TG_OP = 'UPDATE' AND (NEW.updated_at <= OLD.updated_at
                                OR NEW.player_id <> OLD.player_id
                                OR NEW.currency_id <> OLD.currency_id) THEN
        RAISE EXCEPTION 'a balance of player % is not the sum of its entries', NEW.player_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'store_balance_held';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER store_balance_held AFTER INSERT OR UPDATE ON store_balance
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION store_check_balance();

-- The same for stacks and their movements.
CREATE FUNCTION store_check_stack() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_quantity numeric;
BEGIN
    SELECT coalesce(sum(quantity), 0) INTO v_quantity
    FROM store_stackmovement WHERE created_at = NEW.updated_at AND player_id = NEW.player_id
                               AND item_id = NEW.item_id;
    IF TG_OP = 'UPDATE' THEN
        v_quantity := v_quantity + OLD.quantity;
    END IF;
    IF v_quantity <> NEW.quantity
       OR TG_OP = 'UPDATE' AND (NEW.updated_at <= OLD.updated_at
                                OR NEW.player_id <> OLD.player_id
                                OR NEW.item_id <> OLD.item_id) THEN
        RAISE EXCEPTION 'a stack of player % is not the sum of its movements', NEW.player_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'store_stack_held';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER store_stack_held AFTER INSERT OR UPDATE ON store_stack
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION store_check_stack();
"""

# Rows that are updated again and again stay on their page (HOT) where there is room on it.
FILL = """
ALTER TABLE store_balance SET (fillfactor = 80);
ALTER TABLE store_stack SET (fillfactor = 80);
ALTER TABLE store_offeruse SET (fillfactor = 80);
"""

LEDGER_TABLES = (
    "store_transaction",
    "store_entry",
    "store_entry_default",
    "store_balance",
    "store_stack",
    "store_stackmovement",
    "store_stackmovement_default",
)
POSTED_TABLES = (
    ("store_transaction", ""),
    ("store_entry", ""),
    ("store_balance", " OR UPDATE"),
    ("store_stack", " OR UPDATE"),
    ("store_stackmovement", ""),
)

UNDO = "".join(
    f"DROP TRIGGER {name} ON {table};"
    for table, names in {
        "store_transaction": ("store_transaction_append_only",),
        "store_entry": ("store_entry_append_only", "store_entry_balanced"),
        "store_stackmovement": ("store_stackmovement_append_only",),
        "store_balance": ("store_balance_kept", "store_balance_held"),
        "store_stack": ("store_stack_kept", "store_stack_held"),
    }.items()
    for name in names
)
UNDO += "".join(f"DROP TRIGGER {table}_no_truncate ON {table};" for table in LEDGER_TABLES)
UNDO += "".join(f"DROP TRIGGER {table}_posted_only ON {table};" for table, _ in POSTED_TABLES)
UNDO += "".join(
    f"DROP FUNCTION {name};"
    for name in (
        "store_check_entry",
        "store_check_balance",
        "store_check_stack",
        "store_refuse",
        "store_open",
        "store_post",
        "store_uuid7",
    )
)


class Migration(migrations.Migration):
    dependencies = [("store", "0001_initial"), ("analytics", "0002_functions")]

    operations = [
        migrations.RunSQL(
            sql=UUID7
            + POST
            + APPEND_ONLY
            + "".join(TRUNCATE.format(table=table) for table in LEDGER_TABLES)
            + "".join(
                POSTED_ONLY.format(table=table, or_update=or_update)
                for table, or_update in POSTED_TABLES
            )
            + HELD
            + FILL,
            reverse_sql=UNDO,
        )
    ]
