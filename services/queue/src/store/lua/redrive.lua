-- ARGV from 3: most messages, ms until the first is due, ms between two. Takes the oldest dead letters back as if they
-- were new. Gives how many.
local found = redis.call('XRANGE', DEAD, '-', '+', 'COUNT', ARGV[3])
local due, spacing = now + tonumber(ARGV[4]), tonumber(ARGV[5])
local ready, bytes, taken = 0, 0, {}
for place, letter in ipairs(found) do
    local m = message(letter[2])
    m.n, m.c, m.f, m.r = 0, 0, 0, m.r + 1
    m.h = letter[2][10]
    taken[place] = letter[1]
    bytes = bytes + #m.b
    local at = due + (place - 1) * spacing
    if at > now then
        park(m, at, false)
        ready = ready + 1
    else
        ready = ready + enter(m)
    end
end
if #found > 0 then
    redis.call('XDEL', DEAD, unpack(taken))
    count('bytes', bytes)
    wake(ready)
end
return { class, #found }
