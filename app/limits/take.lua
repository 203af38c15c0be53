-- Takes tokens from the bucket in KEYS[1], or gives some back, in O(1).
-- A bucket is one number: the time in us at which it will be full again (GCRA). Its key ends by itself then.
-- ARGV[1] us that one token takes to come back, ARGV[2] how many a full bucket has,
-- ARGV[3] how many are wanted, below 0: given back, ARGV[4] the least that is of use.
-- Returns {taken, left, us to wait until the least would be there, us until the bucket is full}.
-- The clock is Redis's own, so that all nodes mean the same moment.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local token, whole = tonumber(ARGV[1]), ARGV[1] * ARGV[2]
local wanted, least = tonumber(ARGV[3]), tonumber(ARGV[4])
local full_at = tonumber(redis.call('GET', KEYS[1])) or 0
-- Never further away than from empty to full: the clock may have been set back.
full_at = math.min(math.max(full_at, now), now + whole)
local left = math.floor((now + whole - full_at) / token)
if left < least then
  return {0, left, full_at + token * least - now - whole, full_at - now}
end
local taken = math.min(wanted, left)
full_at = full_at + token * taken
if full_at <= now then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000))
end
return {taken, left - taken, 0, math.max(0, full_at - now)}
