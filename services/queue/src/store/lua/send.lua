-- KEYS: queue, names. ARGV from 3: name, most queues, most waiting, most bytes, most age in ms (0: any), dedupe window in
-- ms, how many messages. Then blocks, where nothing is asked for but that they be sent: how many messages, lines, bodies;
-- or, behind a 0, per message: head, body. A head is an id, or an id, a delay in ms, a dedupe id or '' and an ordering key
-- or ''. Gives 'ok' and pairs of the place and first id of what was sent before, or what is full, and its limit.
local name, most_queues, messages = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[9])
local own = redis.call('HMGET', META, 'max_depth', 'max_bytes', 'max_age_ms', 'dedupe_ms', 'bytes', 'cursor', 'surplus')
local function limit(at)
    return tonumber(own[at] or ARGV[at + 4])
end
if redis.call('SISMEMBER', KEYS[2], name) == 0 then
    if redis.call('SCARD', KEYS[2]) >= most_queues then
        return { class, 'queues', most_queues }
    end
    redis.call('SADD', KEYS[2], name)
end

local blocks = ARGV[10] ~= '0'
local bytes = 0
for at = 12, #ARGV, blocks and 3 or 2 do
    bytes = bytes + #ARGV[at]
end
local waiting = redis.call('XLEN', STREAM) + (own[7] or 0) - redis.call('ZCARD', LEASES)
    + redis.call('ZCARD', DELAYED) + redis.call('ZCARD', WAITING)
if waiting + messages > limit(1) then
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

local function add_block(number, lines, bodies)
    redis.call('XADD', STREAM, '*', 'l', lines, 'b', bodies, 'n', number)
    count('surplus', number - 1)
end

local reply, sent, ready = { class, 'ok' }, 0, 0
if blocks then
    for at = 10, #ARGV, 3 do
        add_block(tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2])
    end
    sent, ready = messages, messages
else
    -- What is ready goes into blocks too, in its order.
    local lines, bodies, size, first = {}, {}, 0, nil
    local function flush()
        if #lines == 1 then
            add(first)
        elseif #lines > 1 then
            add_block(#lines, table.concat(lines, '\n'), table.concat(bodies))
        end
        lines, bodies, size = {}, {}, 0
    end
    local window = limit(4)
    for at = 11, #ARGV, 2 do
        local head, body = ARGV[at], ARGV[at + 1]
        local id, delay, dedupe, k = head, 0, '', ''
        if string.find(head, ' ', 1, true) then
            id, delay, dedupe, k = string.match(head, '^(%S+) (%d+) (%S*) (%S*)$')
            delay = tonumber(delay)
        end
        local before = nil
        if dedupe ~= '' and window > 0 then
            before = redis.call('SET', q .. ':seen:' .. dedupe, id, 'NX', 'GET', 'PX', integer(window))
        end
        if before then
            reply[#reply + 1] = (at - 11) / 2
            reply[#reply + 1] = before
            bytes = bytes - #body
        else
            sent = sent + 1
            local m = { i = id, t = integer(now), n = 0, r = 0, c = 0, f = 0, k = k, b = body }
            if delay > 0 then
                park(m, now + delay, false)
                -- Whoever waits may have to wake up earlier than it planned to.
                ready = ready + 1
            elseif not queued(m) then
                if size + #body > BLOCK_BYTES then
                    flush()
                end
                if #lines == 0 then
                    first = m
                end
                lines[#lines + 1] = id .. ' ' .. #body .. (k ~= '' and ' ' .. k or '')
                bodies[#bodies + 1] = body
                size = size + #body
                ready = ready + 1
            end
        end
    end
    flush()
end
count('sent', sent)
count('bytes', bytes)
wake(ready)
return reply
