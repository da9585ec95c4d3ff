-- Announces that everything is gone.
-- KEYS: holders. ARGV: channel. Answers the announcement.
return announce(KEYS[1], ARGV[1], ' *')
