-- KEYS: queue, names. ARGV: name. Ends a queue with all it holds. Gives how many messages that were.
local ended = redis.call('XLEN', STREAM) + redis.call('ZCARD', DELAYED) + redis.call('XLEN', DEAD)
redis.call('UNLINK', STREAM, LEASES, HELD, DELAYED, PARKED, DEAD, HISTORY, META)
redis.call('SREM', KEYS[2], ARGV[1])
return ended
