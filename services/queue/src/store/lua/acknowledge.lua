-- ARGV: receipts. Gives the late ones.
local late, ended = {}, 0
for _, receipt in ipairs(ARGV) do
    local entry = fenced(receipt)
    if entry then
        remove(entry)
        ended = ended + 1
    else
        late[#late + 1] = receipt
    end
end
count('acknowledged', ended)
return late
