-- ARGV from 3: most messages, most bytes, visibility in ms (-1: the queue's), default visibility, default most crashes,
-- '1' to end what is taken at once. Gives ms until something is due (-1: nothing is), then per message: entry, delivery,
-- crashes, the entry's words, body.
local most, most_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local own = redis.call('HMGET', META, 'paused', 'visibility_ms', 'max_crashes', 'cursor')
local visibility = tonumber(ARGV[5])
if visibility < 0 then
    visibility = tonumber(own[2] or ARGV[6])
end
local most_crashes = tonumber(own[3] or ARGV[7])
local take = ARGV[8] == '1'
if own[1] then
    return { class, -1 }
end
local reply, taken, again, bytes = { class, 0 }, 0, 0, 0
local leases, fences, ended = {}, {}, {}
local until_when = integer(now + visibility)

local ready = promote(most + 100)

local function deliver(entry, delivery, crashes, k, text, body)
    if take then
        ended[#ended + 1] = entry
        ready = ready + advance(k)
    else
        leases[#leases + 1] = until_when
        leases[#leases + 1] = entry
        fences[#fences + 1] = entry
        fences[#fences + 1] = delivery .. ' ' .. #body .. ' ' .. crashes .. ' ' .. k
    end
    for _, field in ipairs({ entry, delivery, crashes, text, body }) do
        reply[#reply + 1] = field
    end
    taken = taken + 1
    bytes = bytes + #body
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
    local held = parse(redis.call('HGET', HELD, entry) or '0 0 0 ')
    local m = fetch(entry)
    if not m then
        remove({ entry })
        count('bytes', -held.size)
        ready = ready + advance(held.k)
    else
        m.n, m.c = held.d, held.c + 1
        note(m, held.d, 'expired', nil)
        if m.c >= most_crashes then
            remove({ entry })
            bury(m, 'delivered ' .. held.d .. ' times, and ' .. m.c .. ' of its consumers were not heard of again')
            ready = ready + advance(m.k)
        else
            redis.call('HSET', HISTORY, entry, m.h)
            deliver(entry, held.d + 1, m.c, m.k, words(m), m.b)
        end
    end
end

if has_room() then
    local fresh = redis.call('XRANGE', STREAM, '(' .. (own[4] or '0-0'), '+', 'COUNT', most - taken)
    local last = nil
    for _, found in ipairs(fresh) do
        if not has_room() then
            break
        end
        last = found[1]
        local text, body = found[2][2], found[2][4]
        local n, c, k = string.match(text, '^%S+ %d+ (%d+) %d+ (%d+) %d+ (%S*)$')
        deliver(last, n + 1, c, k, text, body)
    end
    if last then
        redis.call('HSET', META, 'cursor', last)
    end
end

if #leases > 0 then
    redis.call('ZADD', LEASES, unpack(leases))
    redis.call('HSET', HELD, unpack(fences))
end
count('received', taken)
count('redelivered', again)
if #ended > 0 then
    remove(ended)
    count('acknowledged', taken)
    count('bytes', -bytes)
end
-- Others may be waiting for what became ready here and was not taken.
wake(math.max(0, ready - taken))

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
reply[2] = next
return reply
