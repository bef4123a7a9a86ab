-- fsck_records: keys of hashes at which other hands put something else.
-- include: damage
-- takes: repair
-- keys: any*
-- answers: {key, ...}
-- changes: any
--
-- Mended: removed.

local function run(request, keys)
  local wrong = {}
  for _, key in ipairs(keys) do
    if wrong_type(key, 'hash') then
      wrong[#wrong + 1] = key
      if request.repair then redis.call('DEL', key) end
    end
  end
  return wrong
end
