"""Purchases in the platforms' stores against the ledger: the query of one check of verification.py.

Each purchase says what was granted, and what of it was taken back since. Its transactions are found
by their keys; together they must have moved just that, and there must be one for the grant and
one for each reversal.
"""

PLATFORM_PURCHASES = """
    WITH bought AS MATERIALIZED (
        SELECT id, game_id, granted, taken, granted_at, reversals FROM store_platformpurchase
        WHERE id > %(first)s::uuid AND id <= %(last)s::uuid
          AND (%(game)s::uuid IS NULL OR game_id = %(game)s::uuid)
    ), keys AS (
        SELECT id, game_id, 'purchase:' || id || ':grant' AS key FROM bought
        UNION ALL
        SELECT id, game_id, 'purchase:' || id || way || n
        FROM bought, generate_series(1, reversals + 1) AS n,
             (VALUES (':revoke:'), (':regrant:')) AS ways (way)
    ), posted AS MATERIALIZED (
        SELECT k.id, t.id AS transaction_id, t.created_at
        FROM keys k JOIN store_transaction t ON t.game_id = k.game_id AND t.key = k.key
    ), moved AS (
        SELECT p.id, 'currency ' || c.key AS what, sum(e.paid + e.earned) AS amount
        FROM posted p
        JOIN store_entry e ON e.created_at = p.created_at AND e.transaction_id = p.transaction_id
                          AND e.account = 'wallet'
        JOIN store_currency c ON c.id = e.currency_id
        GROUP BY p.id, c.key
        UNION ALL
        SELECT p.id, 'item ' || i.key, sum(m.quantity)
        FROM posted p
        JOIN store_stackmovement m ON m.created_at = p.created_at
                                  AND m.transaction_id = p.transaction_id
        JOIN store_item i ON i.id = m.item_id
        GROUP BY p.id, i.key
    ), said AS (
        SELECT id, 'currency ' || g.key AS what,
               g.value::numeric - coalesce((taken #>> ARRAY['currencies', g.key])::numeric, 0)
                   AS amount
        FROM bought, jsonb_each_text(coalesce(granted -> 'currencies', '{}')) AS g
        UNION ALL
        SELECT id, 'item ' || g.key,
               g.value::numeric - coalesce((taken #>> ARRAY['items', g.key])::numeric, 0)
        FROM bought, jsonb_each_text(coalesce(granted -> 'items', '{}')) AS g
    )
    SELECT 'platform purchase ' || id,
           format('%%s: holds %%s, its transactions moved %%s', what, coalesce(said.amount, 0),
                  coalesce(moved.amount, 0))
    FROM said FULL JOIN moved USING (id, what)
    WHERE coalesce(said.amount, 0) <> coalesce(moved.amount, 0)
    UNION ALL
    SELECT 'platform purchase ' || b.id,
           format('has %%s transactions, and %%s reversals', count(p.id), b.reversals)
    FROM bought b LEFT JOIN posted p ON p.id = b.id
    GROUP BY b.id, b.granted_at, b.reversals
    HAVING count(p.id) <> b.reversals + CASE WHEN b.granted_at IS NULL THEN 0 ELSE 1 END
"""
