-- Takes one token from the bucket in KEYS[1], or gives one back, in O(1).
-- A bucket is one number: the time in ms at which it will be full again (GCRA). Its key ends by itself then.
-- ARGV[1] ms that one token takes to come back, ARGV[2] ms that an empty bucket takes to be full,
-- ARGV[3] 1 to take, -1 to give back. Returns the ms to wait before the next try; 0: taken, or given back.
-- The clock is Redis's own, so that all nodes mean the same moment.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local token, whole = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = tonumber(redis.call('GET', KEYS[1])) or 0
-- Never further away than from empty to full: the clock may have been set back.
full_at = math.min(math.max(full_at, now), now + whole)
full_at = full_at + token * ARGV[3]
if full_at > now + whole then
  return math.ceil(full_at - now - whole)
end
if full_at <= now then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil(full_at - now))
end
return 0
