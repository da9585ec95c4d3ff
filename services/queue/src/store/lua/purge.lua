-- Ends all messages but the dead letters. Gives how many.
local ended = held_in_stream() + redis.call('ZCARD', DELAYED) + redis.call('ZCARD', WAITING)
if redis.call('EXISTS', STREAM) == 1 then
    local info, last = redis.call('XINFO', 'STREAM', STREAM), nil
    for at = 1, #info, 2 do
        if info[at] == 'last-generated-id' then
            last = info[at + 1]
        end
    end
    -- Unlinked, which is quick however many there are; then made anew with a memory of its last entry, so that no later
    -- one can be taken for one of those.
    redis.call('UNLINK', STREAM)
    local ms, sequence = string.match(last, '^(%d+)%-(%d+)$')
    local marker = redis.call('XADD', STREAM, ms .. '-' .. integer(sequence + 1), 'm', '', 'b', '')
    redis.call('XDEL', STREAM, marker)
end
redis.call('UNLINK', LEASES, HELD, DELAYED, PARKED, WAITING, BUSY, HISTORY, ENDED)
redis.call('HDEL', META, 'bytes', 'surplus', 'within')
return { class, ended }
