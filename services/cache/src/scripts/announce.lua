-- Publishes what is gone, under the next number, and answers who must hear of it.
-- `gone` is '\n' and a key for each of them, or ' *' for everything.
-- Answers {number, '1' when the table of holders was lost | '0', holder, its last renewal, holder, ...}, all of it text.
local function announce(holders, channel, gone)
  local time = redis.call('TIME')
  local last = tonumber(redis.call('HGET', holders, '!') or '0')
  -- Numbers grow with the time, so that they grow also when the last one was lost.
  local number = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
  redis.call('HSET', holders, '!', number)
  redis.call('PUBLISH', channel, number .. gone)
  local answer = {number, last == 0 and '1' or '0'}
  local known = redis.call('HGETALL', holders)
  for index = 1, #known, 2 do
    if known[index] ~= '!' then
      answer[#answer + 1] = known[index]
      answer[#answer + 1] = known[index + 1]
    end
  end
  return answer
end
