-- ARGV: most messages. Takes the oldest dead letters back as if they were new. Gives how many.
local found = redis.call('XRANGE', DEAD, '-', '+', 'COUNT', ARGV[1])
for _, letter in ipairs(found) do
    local m = message(letter[2])
    m.n = 0
    m.r = m.r + 1
    m.h = letter[2][16]
    redis.call('XDEL', DEAD, letter[1])
    add(m)
end
wake(#found)
return #found
