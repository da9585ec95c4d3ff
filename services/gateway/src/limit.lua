-- Counts one request in each of several cells, by the generic cell rate algorithm, on this server's clock.
-- KEYS: the cells. ARGV: for each its interval and its tolerance, in microseconds.
-- Returns for each whether it admits (1 or 0), and how far ahead of the present it now is, in microseconds.
-- A cell that refuses does not keep the others from counting: it was tried all the same.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local answers = {}
for number, key in ipairs(KEYS) do
  local interval, tolerance = tonumber(ARGV[2 * number - 1]), tonumber(ARGV[2 * number])
  -- Neither in the past nor further ahead than this rate could bring it: a clock may have been set back.
  local cell = tonumber(redis.call('GET', key)) or now
  cell = math.min(math.max(cell, now), now + tolerance)
  local after = cell + interval
  if after - now <= tolerance then
    -- Formatted here: Lua would write a number of this size with fewer digits than it has.
    redis.call('SET', key, string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000))
    answers[2 * number - 1], answers[2 * number] = 1, after - now
  else
    answers[2 * number - 1], answers[2 * number] = 0, cell - now
  end
end
return answers
