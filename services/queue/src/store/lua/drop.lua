-- KEYS: queue, names. ARGV from 3: name. Ends a queue with all it holds. Gives how many messages that were.
local ended = held_in_stream() + redis.call('ZCARD', DELAYED) + redis.call('ZCARD', WAITING)
    + redis.call('XLEN', DEAD)
redis.call('UNLINK', STREAM, LEASES, HELD, DELAYED, PARKED, WAITING, BUSY, DEAD, HISTORY, META, ENDED)
redis.call('SREM', KEYS[2], ARGV[3])
return { class, ended }
