"""A server event of a player whose row the calling statement has at hand needs no look-ups."""

from importlib import import_module

from django.db import migrations

RECORD_FOR = """
-- Record one server event of a player, of whom the caller knows what `analytics_record` looks up.
--
-- p_props     without the player's agreement, names and ids in it must be left out before
-- p_platform, p_country, p_app_version   '' where they are not known
CREATE FUNCTION analytics_record_for(
    p_game uuid, p_player uuid, p_consent boolean, p_tester boolean,
    p_platform text, p_country text, p_app_version text,
    p_name text, p_props jsonb, p_session uuid, p_at timestamptz
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF p_name IN ('session_start', 'session_refresh') AND NOT p_tester THEN
        PERFORM analytics_mark_active(
            p_game, (p_at AT TIME ZONE g.timezone)::date, p_player, p_consent, p_at,
            p_platform, p_country, p_app_version
        ) FROM accounts_game g WHERE g.id = p_game;
    END IF;
    IF p_name = 'session_refresh' THEN
        RETURN;
    END IF;
    IF p_consent THEN
        INSERT INTO analytics_event (at, id, game_id, player_id, source, is_tester, name, session,
                                     platform, country, app_version, props)
        VALUES (p_at, gen_random_uuid(), p_game, p_player, 1, p_tester, p_name,
                coalesce(p_session::text, ''), p_platform, p_country, p_app_version, p_props);
    ELSE
        INSERT INTO analytics_event (at, received_at, id, game_id, source, is_tester, name,
                                     platform, country, app_version, props)
        VALUES (date_trunc('minute', p_at), date_trunc('minute', clock_timestamp()),
                gen_random_uuid(), p_game, 1, p_tester, p_name,
                p_platform, p_country, p_app_version, p_props);
    END IF;
END
$$;
"""

RECORD = """
CREATE OR REPLACE FUNCTION analytics_record(
    p_game uuid, p_player uuid, p_name text, p_props jsonb,
    p_session uuid DEFAULT NULL, p_at timestamptz DEFAULT NULL
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_consent boolean;
    v_tester boolean;
    v_country text;
    v_platform text;
    v_app_version text;
BEGIN
    IF p_player IS NOT NULL THEN
        SELECT analytics_consent, is_tester, country INTO v_consent, v_tester, v_country
        FROM accounts_player WHERE id = p_player AND game_id = p_game;
    END IF;
    IF p_session IS NOT NULL THEN
        SELECT platform, app_version INTO v_platform, v_app_version
        FROM accounts_session WHERE id = p_session AND player_id = p_player;
    END IF;
    -- Not there: the statement that calls is only just writing it, with the defaults.
    v_platform := left(coalesce(p_props ->> 'platform', v_platform, ''), 20);
    v_country := left(coalesce(p_props ->> 'country', v_country, ''), 2);
    v_app_version := left(coalesce(p_props ->> 'app_version', v_app_version, ''), 20);
    IF p_player IS NULL THEN
        INSERT INTO analytics_event (at, id, game_id, source, name, session,
                                     platform, country, app_version, props)
        VALUES (coalesce(p_at, now()), gen_random_uuid(), p_game, 1, p_name,
                coalesce(p_session::text, ''), v_platform, v_country, v_app_version, p_props);
        RETURN;
    END IF;
    v_consent := coalesce(v_consent, false);
    PERFORM analytics_record_for(
        p_game, p_player, v_consent, coalesce(v_tester, false),
        v_platform, v_country, v_app_version, p_name,
        CASE WHEN v_consent THEN p_props ELSE
            (SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(p_props)
             WHERE key NOT IN ('id', 'reference') AND right(key, 3) <> '_id') END,
        p_session, coalesce(p_at, now()));
END
$$;
"""

_before = import_module("analytics.migrations.0002_functions").RECORD


class Migration(migrations.Migration):
    dependencies = [("analytics", "0002_functions")]

    operations = [
        migrations.RunSQL(
            RECORD_FOR + RECORD,
            _before.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
            + "DROP FUNCTION analytics_record_for;",
        )
    ]
