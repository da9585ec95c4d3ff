-- Renews a first-level lease, and pings its holder behind everything that was published before.
-- KEYS: holders, alive. ARGV: holder, channel of its pings, ping, who it was before or ''.
-- Answers 1, or 0 when no cache service lives.
if ARGV[4] ~= '' then
  redis.call('HDEL', KEYS[1], ARGV[4])
end
if redis.call('EXISTS', KEYS[2]) == 0 then
  return 0
end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', time[1] * 1000000 + time[2]))
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
