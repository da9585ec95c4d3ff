-- What all scripts share. Each runs as one step, so that a message is always in exactly one place:
--   :stream   entries ready or delivered; those behind meta.cursor were never delivered, but for the first few of the
--             block that meta.within names
--   :ended    of blocks in :stream, how many of their messages have ended; of those only where some have and some have not
--   :leases   delivered messages by the time their visibility ends
--   :held     of delivered messages: the delivery's number (the fence), size, crashes, ordering key, and how many messages
--             its block has
--   :delayed  ids of messages for later by the time they are due
--   :waiting  KEY \0 PLACE \0 ID of messages behind another one with their ordering key
--   :parked   the messages of :delayed and :waiting themselves
--   :busy     ordering keys whose foremost message is in :stream, or given back for later
--   :dead     messages given up                 :history  what happened to entries before
-- An entry is one message: m (id, sent at in ms, deliveries before, redrives, crashes, failures, ordering key) and b (body);
-- or a block of new ones that were sent together: l (a line for each: id, size, ordering key), b (all bodies, one after the
-- other) and n (how many). What a message goes by in the sets above is its entry, and in a block its entry, a dash and its place from 0.
-- meta.surplus is how many more messages than entries :stream holds: older messages, and those sent alone, need no block.
-- ARGV[1] is '1' when what is answered can be confirmed to be on disk, ARGV[2] is '1' when queues are fast by default.
-- Every answer begins with the queue's class: '0' durable, '1' fast, 'weak' when it is durable and cannot be: then nothing
-- was done.
local q = KEYS[1]
local STREAM, LEASES, HELD = q .. ':stream', q .. ':leases', q .. ':held'
local DELAYED, PARKED = q .. ':delayed', q .. ':parked'
local WAITING, BUSY = q .. ':waiting', q .. ':busy'
local DEAD, HISTORY, META = q .. ':dead', q .. ':history', q .. ':meta'
local ENDED = q .. ':ended'
local EPISODES = 20

local class = redis.call('HGET', META, 'fast') or ARGV[2]
if class == '0' and ARGV[1] == '0' then
    return { 'weak' }
end

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- How many messages :stream holds.
local function held_in_stream()
    return redis.call('XLEN', STREAM) + (redis.call('HGET', META, 'surplus') or 0)
end

local function integer(n)
    return string.format('%.0f', n)
end

local function setting(name, default)
    return tonumber(redis.call('HGET', META, name) or default)
end

local function count(name, by)
    if by ~= 0 then
        redis.call('HINCRBY', META, name, by)
    end
end

local function wake(by)
    if by > 0 then
        redis.call('PUBLISH', 'queue:wake', string.match(q, '{([^{}]*)}$') .. ':' .. by)
    end
end

-- The words of an entry's first field: id, sent at, deliveries, redrives, crashes, failures, ordering key.
local WORDS = '^(%S+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S*)$'

local function message(fields)
    local i, t, n, r, c, f, k = string.match(fields[2], WORDS)
    return {
        i = i, t = t, n = tonumber(n), r = tonumber(r), c = tonumber(c), f = tonumber(f), k = k, b = fields[4],
    }
end

local function words(m)
    return string.format('%s %s %d %d %d %d %s', m.i, m.t, m.n, m.r, m.c, m.f, m.k)
end

-- Puts a message at the end of the ready ones.
local function add(m)
    local entry = redis.call('XADD', STREAM, '*', 'm', words(m), 'b', m.b)
    if m.h then
        redis.call('HSET', HISTORY, entry, m.h)
    end
end

-- Puts a message behind the others with its ordering key. Gives false when there is none, and so it is its turn.
local function queued(m)
    if m.k == '' or redis.call('HSETNX', BUSY, m.k, 1) == 1 then
        return false
    end
    local place = string.format('%016.0f', redis.call('HINCRBY', META, 'place', 1))
    redis.call('ZADD', WAITING, 0, m.k .. '\0' .. place .. '\0' .. m.i)
    redis.call('HSET', PARKED, m.i, cmsgpack.pack(m))
    return true
end

-- Puts a message among the ready ones, or behind the others with its ordering key. Gives 1 when it is ready.
local function enter(m)
    if queued(m) then
        return 0
    end
    add(m)
    return 1
end

-- The foremost message with this ordering key has ended: the next one's turn. Gives 1 when there is one.
local function advance(k)
    if k == '' then
        return 0
    end
    local found = redis.call('ZRANGEBYLEX', WAITING, '[' .. k .. '\0', '(' .. k .. '\1', 'LIMIT', 0, 1)
    if #found == 0 then
        redis.call('HDEL', BUSY, k)
        return 0
    end
    redis.call('ZREM', WAITING, found[1])
    local id = string.sub(found[1], #k + 19)
    local packed = redis.call('HGET', PARKED, id)
    redis.call('HDEL', PARKED, id)
    if not packed then
        return advance(k)
    end
    add(cmsgpack.unpack(packed))
    return 1
end

-- Keeps a message for later. One that is `foremost` keeps the others with its ordering key waiting.
local function park(m, due, foremost)
    m.foremost = foremost
    redis.call('ZADD', DELAYED, integer(due), m.i)
    redis.call('HSET', PARKED, m.i, cmsgpack.pack(m))
end

-- Makes what is due ready, so many at most. Gives how many became ready.
local function promote(most)
    local ready = 0
    local due = redis.call('ZRANGEBYSCORE', DELAYED, '-inf', integer(now), 'LIMIT', 0, most)
    if #due == 0 then
        return 0
    end
    local parked = redis.call('HMGET', PARKED, unpack(due))
    redis.call('ZREM', DELAYED, unpack(due))
    redis.call('HDEL', PARKED, unpack(due))
    for _, packed in ipairs(parked) do
        if packed then
            local m = cmsgpack.unpack(packed)
            if m.foremost then
                m.foremost = nil
                add(m)
                ready = ready + 1
            else
                ready = ready + enter(m)
            end
        end
    end
    return ready
end

-- What is known of a delivered message: delivery, size, crashes, ordering key, and how many its block has ('' without one).
local function parse(held)
    local d, size, c, k, of = string.match(held, '^(%d+) (%d+) (%d+) (%S*) ?(%d*)$')
    return { d = tonumber(d), size = tonumber(size), c = tonumber(c), k = k, of = of }
end

-- A message in a block, as if it had an entry of its own.
local opened = {}
local function member(block, place)
    local known = opened[block]
    if not known then
        local found = redis.call('XRANGE', STREAM, block, block)
        if #found == 0 then
            return nil
        end
        known = { bodies = found[1][2][4], ids = {}, sizes = {}, keys = {} }
        for id, size, k in string.gmatch(found[1][2][2], '(%S+) (%d+) ?(%S*)') do
            local at = #known.ids + 1
            known.ids[at], known.sizes[at], known.keys[at] = id, tonumber(size), k
        end
        opened[block] = known
    end
    local from = 0
    for before = 1, place do
        from = from + known.sizes[before]
    end
    return {
        i = known.ids[place + 1], t = string.match(block, '^%d+'), n = 0, r = 0, c = 0, f = 0, k = known.keys[place + 1],
        b = string.sub(known.bodies, from + 1, from + known.sizes[place + 1]),
    }
end

local function fetch(entry)
    local block, place = string.match(entry, '^(%d+%-%d+)%-(%d+)$')
    local m = nil
    if block then
        m = member(block, tonumber(place))
    else
        local found = redis.call('XRANGE', STREAM, entry, entry)
        m = #found > 0 and message(found[1][2]) or nil
    end
    if m then
        m.h = redis.call('HGET', HISTORY, entry) or nil
    end
    return m
end

-- Ends the stay of messages among the ready and delivered ones; at least one, at most a few hundred. `blocks` has for each
-- how many its block has, as in :held. A block goes with its last message.
local function remove(entries, blocks)
    local gone, ended = {}, {}
    for at, entry in ipairs(entries) do
        if blocks[at] ~= '' then
            local block = string.match(entry, '^%d+%-%d+')
            local known = ended[block] or { number = 0, of = tonumber(blocks[at]) }
            known.number = known.number + 1
            ended[block] = known
        elseif not string.find(entry, '%-%d+%-') then
            gone[#gone + 1] = entry
        end
    end
    local surplus = 0
    for block, known in pairs(ended) do
        local all = known.number
        surplus = surplus - known.number
        if all < known.of then
            all = redis.call('HINCRBY', ENDED, block, known.number)
            if all == known.of then
                redis.call('HDEL', ENDED, block)
            end
        end
        if all == known.of then
            gone[#gone + 1] = block
            surplus = surplus + 1
        end
    end
    if #gone > 0 then
        redis.call('XDEL', STREAM, unpack(gone))
    end
    count('surplus', surplus)
    redis.call('ZREM', LEASES, unpack(entries))
    redis.call('HDEL', HELD, unpack(entries))
    if redis.call('EXISTS', HISTORY) == 1 then
        redis.call('HDEL', HISTORY, unpack(entries))
    end
end

local function note(m, delivery, event, reason)
    local episodes = m.h and cjson.decode(m.h) or {}
    episodes[#episodes + 1] = { d = delivery, at = now, e = event, r = reason }
    if #episodes > EPISODES then
        table.remove(episodes, 1)
    end
    m.h = cjson.encode(episodes)
end

-- Gives a message up. It no longer counts among those that the queue holds.
local function bury(m, reason)
    redis.call('XADD', DEAD, '*', 'm', words(m), 'b', m.b, 'a', integer(now), 'w', reason, 'h', m.h or '[]')
    count('died', 1)
    count('bytes', -#m.b)
end

-- What is known of the delivery that a receipt stands for, if it is still good: ARGV[at] is the entry, the next one the
-- delivery's number.
local function fenced(at)
    local held = redis.call('HGET', HELD, ARGV[at])
    if held then
        held = parse(held)
        if not FENCED or integer(held.d) == ARGV[at + 1] then
            return ARGV[at], held
        end
    end
    return nil
end
