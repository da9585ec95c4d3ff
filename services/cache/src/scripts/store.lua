-- Stores a value: for the holder of the lease only, or (with an empty token) for anybody, which voids the lease and is
-- announced as a deletion of what was there.
-- Whoever brings a token may store while leases are switched off.
-- KEYS: values, leases, holders. ARGV: variant, token, value, kept until, most variants, channel of wake-ups, key, channel of
-- deletions, '1' without leases. Answers {1 | 0 when the lease is void, announcement or {}}.
if ARGV[2] ~= '' and ARGV[9] ~= '1' then
  local lease = redis.call('HGET', KEYS[2], ARGV[1])
  if not lease or string.sub(lease, 14) ~= ARGV[2] then
    return {0, {}}
  end
end
redis.call('HDEL', KEYS[2], ARGV[1])
-- A key with too many variants starts over: each new one would keep all the old ones alive.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then
  redis.call('UNLINK', KEYS[1])
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
if redis.call('PEXPIRETIME', KEYS[1]) < tonumber(ARGV[4]) then
  redis.call('PEXPIREAT', KEYS[1], ARGV[4])
end
if ARGV[2] == '' then
  return {1, announce(KEYS[3], ARGV[8], '\n' .. ARGV[7])}
end
redis.call('PUBLISH', ARGV[6], ARGV[7])
return {1, {}}
