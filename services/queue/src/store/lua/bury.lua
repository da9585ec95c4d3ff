-- ARGV from 3: reason, entry, delivery. Gives 1, or 0 when late.
local entry, held = fenced(4)
local m = entry and fetch(entry)
if not m then
    return { class, 0 }
end
note(m, held.d, 'dead', ARGV[3])
remove({ entry }, { held.of })
m.n, m.c = held.d, held.c
bury(m, ARGV[3])
wake(advance(m.k))
return { class, 1 }
