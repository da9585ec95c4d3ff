-- Ends all messages but the dead letters. Gives how many.
local ended = redis.call('XLEN', STREAM) + redis.call('ZCARD', DELAYED)
-- Not deleted: an emptied stream still knows its last entry, so that no later one can fall behind the cursor.
redis.call('XTRIM', STREAM, 'MAXLEN', 0)
redis.call('UNLINK', LEASES, HELD, DELAYED, PARKED, HISTORY)
return ended
