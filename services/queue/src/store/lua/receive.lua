-- ARGV: most messages, most bytes, visibility in ms (-1: the queue's), default visibility, default most deliveries,
-- '1' to end what is taken at once. Gives ms until something is due (-1: nothing is), then per message: entry, delivery,
-- id, sent at, redrives, body.
local most, most_bytes = tonumber(ARGV[1]), tonumber(ARGV[2])
local visibility = tonumber(ARGV[3])
if visibility < 0 then
    visibility = setting('visibility_ms', ARGV[4])
end
local most_deliveries = setting('max_deliveries', ARGV[5])
local take = ARGV[6] == '1'
local reply, taken, again, bytes = { 0 }, 0, 0, 0

local due = redis.call('ZRANGEBYSCORE', DELAYED, '-inf', integer(now), 'LIMIT', 0, 1000)
for _, id in ipairs(due) do
    local packed = redis.call('HGET', PARKED, id)
    redis.call('ZREM', DELAYED, id)
    redis.call('HDEL', PARKED, id)
    if packed then
        add(cmsgpack.unpack(packed))
    end
end

local function deliver(entry, m, delivery)
    if take then
        remove(entry)
    else
        redis.call('ZADD', LEASES, integer(now + visibility), entry)
        redis.call('HSET', HELD, entry, delivery)
    end
    for _, field in ipairs({ entry, delivery, m.i, m.t, m.r, m.b }) do
        reply[#reply + 1] = field
    end
    taken = taken + 1
    bytes = bytes + #m.b
    if delivery > 1 then
        again = again + 1
    end
end

local function has_room()
    return taken < most and (taken == 0 or bytes < most_bytes)
end

-- Those whose visibility ended come first: they waited longest.
local expired = redis.call('ZRANGEBYSCORE', LEASES, '-inf', integer(now), 'LIMIT', 0, most + 100)
for _, entry in ipairs(expired) do
    if not has_room() then
        break
    end
    local delivery = tonumber(redis.call('HGET', HELD, entry) or 0)
    local m = fetch(entry)
    if not m then
        remove(entry)
    else
        note(m, delivery, 'expired', nil)
        if delivery >= most_deliveries then
            remove(entry)
            m.n = delivery
            bury(m, 'delivered ' .. delivery .. ' times and never acknowledged')
        else
            redis.call('HSET', HISTORY, entry, m.h)
            deliver(entry, m, delivery + 1)
        end
    end
end

if has_room() then
    local cursor = redis.call('HGET', META, 'cursor') or '0-0'
    local fresh = redis.call('XRANGE', STREAM, '(' .. cursor, '+', 'COUNT', most - taken)
    local last = nil
    for _, found in ipairs(fresh) do
        if not has_room() then
            break
        end
        last = found[1]
        local m = message(found[2])
        deliver(last, m, m.n + 1)
    end
    if last then
        redis.call('HSET', META, 'cursor', last)
    end
end

count('received', taken)
count('redelivered', again)
if take then
    count('acknowledged', taken)
end
-- Others may be waiting for what became ready here and was not taken.
wake(math.max(0, #due - taken))

local next = -1
for _, set in ipairs({ LEASES, DELAYED }) do
    local first = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')
    if #first > 0 then
        local wait = math.max(0, tonumber(first[2]) - now)
        if next < 0 or wait < next then
            next = wait
        end
    end
end
reply[1] = next
return reply
