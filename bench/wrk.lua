-- Asks as bench/generator.c does: a head drawn for each request, slugs in turn. wrk -s wrk.lua URL -- HEADS SLUGS PREFIX
local heads, slugs, count, turn, prefix = {}, nil, 0, 0, "/b"

function init(words)
  local file = io.open(words[1], "rb")
  local data = file:read("*a")
  file:close()
  local at = 1
  while at <= #data do
    local low, high = data:byte(at, at + 1)
    local size = low + 256 * high
    heads[#heads + 1] = " HTTP/1.1\r\n" .. data:sub(at + 2, at + 1 + size)
    at = at + 2 + size
  end
  local ffi = require("ffi")
  file = io.open(words[2], "rb")
  local numbers = file:read("*a")
  file:close()
  count = #numbers / 4
  slugs = ffi.new("uint32_t[?]", count)
  ffi.copy(slugs, numbers, #numbers)
  prefix = "GET " .. words[3]
  math.randomseed(5)
end

function request()
  turn = turn + 1
  return prefix .. slugs[turn % count] .. heads[math.random(#heads)]
end

function done(summary, latency, requests)
  io.write(string.format("\n  95%%  %dus\n  99.9%%  %dus\n", latency:percentile(95), latency:percentile(99.9)))
end
