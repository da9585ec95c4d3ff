-- KEYS: queue, names. ARGV from 3: name, most queues, most waiting, most bytes, most age in ms (0: any), dedupe window in
-- ms, then per message: head, body. A head is an id, or an id, a delay in ms, a dedupe id or '' and an ordering key or ''.
-- Gives 'ok' and pairs of the place and first id of what was sent before, or what is full, and its limit.
local name, most_queues = ARGV[3], tonumber(ARGV[4])
local own = redis.call('HMGET', META, 'max_depth', 'max_bytes', 'max_age_ms', 'dedupe_ms', 'bytes', 'cursor')
local function limit(at)
    return tonumber(own[at] or ARGV[at + 4])
end
if redis.call('SISMEMBER', KEYS[2], name) == 0 then
    if redis.call('SCARD', KEYS[2]) >= most_queues then
        return { class, 'queues', most_queues }
    end
    redis.call('SADD', KEYS[2], name)
end

local bytes = 0
for at = 10, #ARGV, 2 do
    bytes = bytes + #ARGV[at]
end
local waiting = redis.call('XLEN', STREAM) - redis.call('ZCARD', LEASES)
    + redis.call('ZCARD', DELAYED) + redis.call('ZCARD', WAITING)
if waiting + (#ARGV - 8) / 2 > limit(1) then
    return { class, 'depth', limit(1) }
end
if (tonumber(own[5] or 0)) + bytes > limit(2) then
    return { class, 'bytes', limit(2) }
end
if limit(3) > 0 then
    local first = redis.call('XRANGE', STREAM, '(' .. (own[6] or '0-0'), '+', 'COUNT', 1)
    if #first > 0 and now - tonumber(string.match(first[1][1], '^%d+')) > limit(3) then
        return { class, 'age', limit(3) }
    end
end

local window = limit(4)
local reply, sent, ready = { class, 'ok' }, 0, 0
local rest = ' ' .. integer(now) .. ' 0 0 0 0 '
for at = 9, #ARGV, 2 do
    local head, body = ARGV[at], ARGV[at + 1]
    if not string.find(head, ' ', 1, true) then
        redis.call('XADD', STREAM, '*', 'm', head .. rest, 'b', body)
        sent, ready = sent + 1, ready + 1
    else
        local id, delay, dedupe, k = string.match(head, '^(%S+) (%d+) (%S*) (%S*)$')
        local first = nil
        if dedupe ~= '' and window > 0 then
            first = redis.call('SET', q .. ':seen:' .. dedupe, id, 'NX', 'GET', 'PX', integer(window))
        end
        if first then
            reply[#reply + 1] = (at - 9) / 2
            reply[#reply + 1] = first
            bytes = bytes - #body
        else
            local m = { i = id, t = integer(now), n = 0, r = 0, c = 0, f = 0, k = k, b = body }
            delay = tonumber(delay)
            if delay > 0 then
                park(m, now + delay, false)
                -- Whoever waits may have to wake up earlier than it planned to.
                ready = ready + 1
            else
                ready = ready + enter(m)
            end
            sent = sent + 1
        end
    end
end
count('sent', sent)
count('bytes', bytes)
wake(ready)
return reply
