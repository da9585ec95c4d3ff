-- ARGV: receipt, reason. Gives 1, or 0 when late.
local entry, delivery = fenced(ARGV[1])
if not entry then
    return 0
end
local m = fetch(entry)
note(m, delivery, 'dead', ARGV[2])
remove(entry)
m.n = delivery
bury(m, ARGV[2])
return 1
