-- ARGV: receipt, delay in ms, reason or '', '1' when the delivery does not count, default most deliveries. Gives 1, or 0
-- when late.
local entry, delivery = fenced(ARGV[1])
if not entry then
    return 0
end
local delay, uncounted = tonumber(ARGV[2]), ARGV[4] == '1'
local reason = ARGV[3] ~= '' and ARGV[3] or nil
local m = fetch(entry)
note(m, delivery, 'released', reason)
remove(entry)
m.n = uncounted and delivery - 1 or delivery
if not uncounted and delivery >= setting('max_deliveries', ARGV[5]) then
    bury(m, 'given back at delivery ' .. delivery .. (reason and ': ' .. reason or ''))
elseif delay > 0 then
    park(m, now + delay)
    wake(1)
else
    add(m)
    wake(1)
end
return 1
