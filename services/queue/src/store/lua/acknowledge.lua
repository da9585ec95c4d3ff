-- ARGV from 3: per receipt its entry and its delivery's number. Gives the places of the late ones.
local entries = {}
for at = 3, #ARGV, 2 do
    entries[#entries + 1] = ARGV[at]
end
local known = redis.call('HMGET', HELD, unpack(entries))
local reply, ended, blocks, seen, bytes, ready = { class }, {}, {}, {}, 0, 0
local keys = {}
for place, entry in ipairs(entries) do
    local held = known[place]
    local d, size, k, of
    if held and not seen[entry] then
        d, size, k, of = string.match(held, '^(%d+) (%d+) %d+ (%S*) ?(%d*)$')
    end
    if d and (not FENCED or d == ARGV[2 * place + 2]) then
        seen[entry] = true
        ended[#ended + 1] = entry
        blocks[#blocks + 1] = of
        bytes = bytes + size
        if k ~= '' then
            keys[#keys + 1] = k
        end
    else
        reply[#reply + 1] = place - 1
    end
end
if #ended > 0 then
    remove(ended, blocks)
    for _, k in ipairs(keys) do
        ready = ready + advance(k)
    end
    count('acknowledged', #ended)
    count('bytes', -bytes)
    wake(ready)
end
return reply
