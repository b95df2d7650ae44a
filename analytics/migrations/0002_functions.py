"""What has to happen inside other apps' statements: functions of PostgreSQL."""

from django.db import migrations

# The pseudonym of a player without consent: the same within a day, and not to be made again, by
# anyone, once the day's salt is deleted. Salts are made ahead by a job; the insert is for a
# deployment whose jobs have stopped.
PSEUDONYM = """
CREATE FUNCTION analytics_pseudonym(p_player uuid, p_day date) RETURNS uuid
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_salt bytea;
BEGIN
    SELECT salt INTO v_salt FROM analytics_daysalt WHERE day = p_day;
    IF v_salt IS NULL THEN
        -- A day whose salt was deleted stays closed.
        IF p_day < (now() AT TIME ZONE 'UTC')::date - 8 OR p_day > (now() AT TIME ZONE 'UTC')::date + 4 THEN
            RETURN NULL;
        END IF;
        INSERT INTO analytics_daysalt (day, salt)
        VALUES (p_day, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())))
        ON CONFLICT (day) DO NOTHING;
        SELECT salt INTO v_salt FROM analytics_daysalt WHERE day = p_day;
    END IF;
    RETURN encode(substring(sha256(v_salt || uuid_send(p_player)) FOR 16), 'hex')::uuid;
END
$$;
"""

# Rows are only ever appended, and looked for before: two requests at once may both write one, but
# neither waits for the other, so this can never be part of a deadlock. In PL/pgSQL, which keeps its
# plans: as an SQL function, planned at each call, it cost three times as much as all the rest.
MARK_ACTIVE = """
CREATE FUNCTION analytics_mark_active(
    p_game uuid, p_day date, p_player uuid, p_consent boolean, p_at timestamptz,
    p_platform text, p_country text, p_app_version text
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_who uuid := CASE WHEN p_consent THEN p_player ELSE analytics_pseudonym(p_player, p_day) END;
BEGIN
    IF v_who IS NULL THEN
        RETURN;
    END IF;
    PERFORM FROM analytics_activeplayer WHERE game_id = p_game AND day = p_day AND who = v_who;
    IF FOUND THEN
        RETURN;
    END IF;
    -- Who agreed, or withdrew, in the course of this day was counted under the other name.
    PERFORM FROM analytics_activeplayer
    WHERE game_id = p_game AND day = p_day
      AND who = CASE WHEN p_consent THEN analytics_pseudonym(p_player, p_day) ELSE p_player END;
    IF FOUND THEN
        RETURN;
    END IF;
    INSERT INTO analytics_activeplayer
        (game_id, day, who, seen_at, platform, country, app_version)
    -- The session's row has this very time: next to a pseudonym it would be a name.
    VALUES (p_game, p_day, v_who,
            CASE WHEN p_consent THEN p_at ELSE p_day::timestamp AT TIME ZONE 'UTC' END,
            p_platform, p_country, p_app_version);
END
$$;
"""

# What analytics/services/server_events.py describes.
RECORD = """
CREATE FUNCTION analytics_record(
    p_game uuid, p_player uuid, p_name text, p_props jsonb,
    p_session uuid DEFAULT NULL, p_at timestamptz DEFAULT NULL
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_at timestamptz := coalesce(p_at, now());
    v_consent boolean;
    v_tester boolean;
    v_country text;
    v_platform text;
    v_app_version text;
    v_day date;
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
    v_consent := coalesce(v_consent, false);
    v_tester := coalesce(v_tester, false);
    v_platform := left(coalesce(p_props ->> 'platform', v_platform, ''), 20);
    v_country := left(coalesce(p_props ->> 'country', v_country, ''), 2);
    v_app_version := left(coalesce(p_props ->> 'app_version', v_app_version, ''), 20);

    IF p_name IN ('session_start', 'session_refresh') AND p_player IS NOT NULL AND NOT v_tester THEN
        SELECT (v_at AT TIME ZONE timezone)::date INTO v_day FROM accounts_game WHERE id = p_game;
        PERFORM analytics_mark_active(
            p_game, v_day, p_player, v_consent, v_at, v_platform, v_country, v_app_version
        );
    END IF;
    IF p_name = 'session_refresh' THEN
        RETURN;
    END IF;

    IF p_player IS NULL OR v_consent THEN
        INSERT INTO analytics_event (at, id, game_id, player_id, source, is_tester, name, session,
                                     platform, country, app_version, props)
        VALUES (v_at, gen_random_uuid(), p_game, p_player, 1, v_tester, p_name,
                coalesce(p_session::text, ''), v_platform, v_country, v_app_version, p_props);
    ELSE
        INSERT INTO analytics_event (at, received_at, id, game_id, source, is_tester, name,
                                     platform, country, app_version, props)
        VALUES (date_trunc('minute', v_at), date_trunc('minute', clock_timestamp()),
                gen_random_uuid(), p_game, 1, v_tester, p_name,
                v_platform, v_country, v_app_version,
                (SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(p_props)
                 WHERE key NOT IN ('id', 'reference') AND right(key, 3) <> '_id'));
    END IF;
END
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("analytics", "0001_initial")]

    operations = [
        migrations.RunSQL(PSEUDONYM, "DROP FUNCTION analytics_pseudonym"),
        migrations.RunSQL(MARK_ACTIVE, "DROP FUNCTION analytics_mark_active"),
        migrations.RunSQL(RECORD, "DROP FUNCTION analytics_record"),
    ]
