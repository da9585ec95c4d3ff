-- Gives a lease back, if it is still the caller's.
-- KEYS: leases. ARGV: variant, token, channel, key. Answers 1, or 0 when the lease is void.
local lease = redis.call('HGET', KEYS[1], ARGV[1])
if not lease or string.sub(lease, 14) ~= ARGV[2] then
  return 0
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
