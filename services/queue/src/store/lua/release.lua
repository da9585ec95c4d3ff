-- ARGV from 3: delay in ms (-1: the queue's backoff), reason or '', '1' when the delivery does not count, default most
-- failures, default backoff and its limit in ms, a number from 0 to 1 drawn by chance, then per receipt its entry and its
-- delivery's number. Gives the places of the late ones.
local asked, uncounted = tonumber(ARGV[3]), ARGV[5] == '1'
local reason = ARGV[4] ~= '' and ARGV[4] or nil
local most = setting('max_deliveries', ARGV[6])
local backoff, longest = setting('backoff_ms', ARGV[7]), setting('backoff_limit_ms', ARGV[8])
local chance = tonumber(ARGV[9])
local reply, ready = { class }, 0
for at = 10, #ARGV, 2 do
    local entry, held = fenced(at)
    local m = entry and fetch(entry)
    if not m then
        reply[#reply + 1] = (at - 10) / 2
    else
        note(m, held.d, 'released', reason)
        remove({ entry }, { held.of })
        m.n, m.c = held.d, held.c
        local delay = asked
        if uncounted then
            m.n = held.d - 1
        else
            m.f = m.f + 1
        end
        if delay < 0 then
            delay = 0
            if not uncounted then
                -- Doubles with every failure; between half of it and all of it, so that what failed together does not
                -- come back together.
                chance = (chance + 0.618) % 1
                delay = math.min(backoff * 2 ^ math.min(m.f - 1, 30), longest) * (0.5 + 0.5 * chance)
            end
        end
        if not uncounted and m.f >= most then
            bury(m, 'given back at delivery ' .. held.d .. (reason and ': ' .. reason or ''))
            ready = ready + advance(m.k)
        elseif delay >= 1 then
            park(m, now + delay, true)
            -- Whoever waits may have to wake up earlier than it planned to.
            ready = ready + 1
        else
            add(m)
            ready = ready + 1
        end
    end
end
wake(ready)
return reply
