-- KEYS: queue, names. ARGV: name, most queues, most waiting, dedupe window in ms, then per message: id, delay in ms,
-- dedupe id or '', body. Gives {'ok', id, ...}, {'full', most waiting} or {'queues', most queues}.
local name, most_queues = ARGV[1], tonumber(ARGV[2])
if redis.call('SISMEMBER', KEYS[2], name) == 0 then
    if redis.call('SCARD', KEYS[2]) >= most_queues then
        return { 'queues', most_queues }
    end
    redis.call('SADD', KEYS[2], name)
end
local messages = (#ARGV - 4) / 4
local most_waiting = setting('max_depth', ARGV[3])
local waiting = redis.call('XLEN', STREAM) - redis.call('ZCARD', LEASES) + redis.call('ZCARD', DELAYED)
if waiting + messages > most_waiting then
    return { 'full', most_waiting }
end
local window = setting('dedupe_ms', ARGV[4])
local reply, sent = { 'ok' }, 0
for at = 5, #ARGV, 4 do
    local id, delay, dedupe, body = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3]
    local first = nil
    if dedupe ~= '' and window > 0 then
        local key = q .. ':seen:' .. dedupe
        first = redis.call('GET', key)
        if not first then
            redis.call('SET', key, id, 'PX', window)
        end
    end
    if not first then
        local m = { i = id, t = integer(now), n = 0, r = 0, b = body }
        if delay > 0 then
            park(m, now + delay)
        else
            add(m)
        end
        sent = sent + 1
    end
    reply[#reply + 1] = first or id
end
count('sent', sent)
wake(sent)
return reply
