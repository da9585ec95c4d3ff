-- Counts one request in each of several cells, by the generic cell rate algorithm, on this server's clock.
-- KEYS: the cells. ARGV: for each its interval and its tolerance, in microseconds.
-- Returns for each whether it admits (1 or 0), and how far ahead of the present it now is, in microseconds.
-- A cell that refuses does not keep the others from counting: it was tried all the same.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local answers = {}
for number, key in ipairs(KEYS) do
  local interval, tolerance = tonumber(ARGV[2 * number - 1]), tonumber(ARGV[2 * number])
  local known = tonumber(redis.call('GET', key)) or now
  -- Neither in the past nor further ahead than this rate could bring it: a clock may have been set back.
  local cell = math.min(math.max(known, now), now + tolerance)
  local admitted = cell + interval - now <= tolerance
  if admitted then cell = cell + interval end
  if cell ~= known then
    -- Formatted here: Lua would write a number of this size with fewer digits than it has.
    redis.call('SET', key, string.format('%.0f', cell), 'PX', math.ceil((cell - now) / 1000))
  end
  answers[2 * number - 1], answers[2 * number] = admitted and 1 or 0, cell - now
end
return answers
