-- Ends all dead letters. Gives how many.
local ended = redis.call('XLEN', DEAD)
redis.call('UNLINK', DEAD)
return { class, ended }
