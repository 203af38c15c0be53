-- Puts a link, an absence or a tombstone into its one key if it is newer than what is there.
-- KEYS[1] the key; ARGV[1] version, ARGV[2] value (msgpack [version, entry]), ARGV[3] seconds to live.
-- An absence (version 0) is put only where there is nothing, so it never hides a link.
local current = redis.call('GET', KEYS[1])
if current then
  -- Only the version is read, behind the byte that says "array of two": the rest may be long, and of types that
  -- cmsgpack does not know.
  local known, _, version = pcall(cmsgpack.unpack_one, current, 1)
  if string.byte(current) == 0x92 and known and type(version) == 'number' then
    -- At one version the content is the same: it is put again in case another release wrote it in another shape.
    if version > tonumber(ARGV[1]) then
      return 0
    end
  end
end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
