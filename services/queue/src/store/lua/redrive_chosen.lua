-- ARGV from 3: ms until the first is due, ms between two, positions. Takes these dead letters back as if they were new; one that
-- is not there any more is left out. Gives how many.
local due, spacing = now + tonumber(ARGV[3]), tonumber(ARGV[4])
local ready, bytes, taken = 0, 0, {}
for place = 5, #ARGV do
    local found = redis.call('XRANGE', DEAD, ARGV[place], ARGV[place])
    if #found == 1 then
        local letter = found[1]
        local m = message(letter[2])
        m.n, m.c, m.f, m.r = 0, 0, 0, m.r + 1
        m.h = letter[2][10]
        local at = due + #taken * spacing
        taken[#taken + 1] = letter[1]
        bytes = bytes + #m.b
        if at > now then
            park(m, at, false)
            ready = ready + 1
        else
            ready = ready + enter(m)
        end
    end
end
if #taken > 0 then
    redis.call('XDEL', DEAD, unpack(taken))
    count('bytes', bytes)
    wake(ready)
end
return { class, #taken }
