-- ARGV from 3: most messages, most bytes, visibility in ms (-1: the queue's), default visibility, default most crashes,
-- '1' to end what is taken at once. Gives ms until something is due (-1: nothing is), then groups of messages: the first
-- one's entry, their lines (an entry's words, or those of a block), their bodies one after the other.
local most, most_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local own = redis.call('HMGET', META, 'paused', 'visibility_ms', 'max_crashes', 'cursor', 'within', 'surplus')
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
local leases, fences, ended, blocks = {}, {}, {}, {}
local until_when = integer(now + visibility)

local ready = promote(most + 100)

local function deliver(entry, delivery, size, crashes, k, of)
    if take then
        ended[#ended + 1] = entry
        blocks[#blocks + 1] = of
        ready = ready + advance(k)
    else
        leases[#leases + 1] = until_when
        leases[#leases + 1] = entry
        fences[#fences + 1] = entry
        fences[#fences + 1] = delivery .. ' ' .. size .. ' ' .. crashes .. ' ' .. k .. ' ' .. of
    end
    taken = taken + 1
    bytes = bytes + size
end

local function answer(entry, lines, bodies)
    local at = #reply
    reply[at + 1], reply[at + 2], reply[at + 3] = entry, lines, bodies
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
        remove({ entry }, { '' })
        count('bytes', -held.size)
        ready = ready + advance(held.k)
    else
        m.n, m.c = held.d, held.c + 1
        note(m, held.d, 'expired', nil)
        if m.c >= most_crashes then
            remove({ entry }, { held.of })
            bury(m, 'delivered ' .. held.d .. ' times, and ' .. m.c .. ' of its consumers were not heard of again')
            ready = ready + advance(m.k)
        else
            redis.call('HSET', HISTORY, entry, m.h)
            deliver(entry, held.d + 1, #m.b, m.c, m.k, held.of)
            answer(entry, words(m), m.b)
            again = again + 1
        end
    end
end

-- The messages of a block from `from` (counted from 0) on, as far as there is room. Gives how many were taken before and
-- now.
local function deliver_block(block, fields, from)
    local lines, of = fields[2], fields[6]
    local place, start, stop, first, last = 0, 0, 0, 1, 0
    for begin, size, k, after in string.gmatch(lines, '()%S+ (%d+) ?(%S*)()') do
        if place < from then
            start = start + size
            stop = start
            first = after + 1
        elseif has_room() then
            deliver(block .. '-' .. place, '1', size, '0', k, of)
            stop = stop + size
            last = after - 1
        else
            break
        end
        place = place + 1
    end
    answer(block .. '-' .. from, string.sub(lines, first, last), string.sub(fields[4], start + 1, stop))
    return place
end

-- As many entries at a time as hold about as many messages as are wanted.
local cursor, moved = own[4] or '0-0', false
local begun, skip = string.match(own[5] or '', '^(%S+) (%d+)$')
local entries = redis.call('XLEN', STREAM)
local a_entry = entries > 0 and (entries + (own[6] or 0)) / entries or 1
local exhausted = entries == 0
local within = nil
while has_room() and not exhausted and not within do
    local wanted = math.max(1, math.floor((most - taken) / a_entry))
    local fresh = redis.call('XRANGE', STREAM, '(' .. cursor, '+', 'COUNT', wanted)
    exhausted = #fresh < wanted
    for _, found in ipairs(fresh) do
        if not has_room() then
            break
        end
        local entry, fields = found[1], found[2]
        local place, number = 1, 1
        if fields[1] == 'l' then
            place = deliver_block(entry, fields, entry == begun and tonumber(skip) or 0)
            number = tonumber(fields[6])
        else
            local n, c, k = string.match(fields[2], '^%S+ %d+ (%d+) %d+ (%d+) %d+ (%S*)$')
            deliver(entry, n + 1, #fields[4], c, k, '')
            answer(entry, fields[2], fields[4])
            if n ~= '0' then
                again = again + 1
            end
        end
        moved = true
        if place < number then
            within = entry .. ' ' .. place
            break
        end
        cursor = entry
    end
end
if moved then
    redis.call('HSET', META, 'cursor', cursor, 'within', within or '')
end

if #leases > 0 then
    redis.call('ZADD', LEASES, unpack(leases))
    redis.call('HSET', HELD, unpack(fences))
end
count('received', taken)
count('redelivered', again)
if #ended > 0 then
    remove(ended, blocks)
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
