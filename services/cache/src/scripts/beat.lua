-- A sign of life, that counts until a time of Redis' own clock; another instance's longer one stays.
-- KEYS: alive. ARGV: until when in milliseconds, instance. Answers the time, {seconds, microseconds}.
if redis.call('PEXPIRETIME', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[1])
end
return redis.call('TIME')
