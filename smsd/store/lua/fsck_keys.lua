-- fsck_keys: what is wrong with the keys themselves, whoever they belong to.
-- include: damage, last_ids
-- takes: kinds, counted, repair
-- keys: any*
-- answers: {{key, 'type' | 'ids' | 'count', reason}, ...}
-- changes: counters
--
-- Keys are those beside the common ones, of `kinds`. Mended: a count that is none is begun anew; for the others see
-- fsck_set_aside and fsck_renew.

local function fault_of(key, kind, request)
  local reason = wrong_type(key, kind)
  if reason then return {key, 'type', reason} end
  if kind == 'stream' and are_ids_spent(key) then return {key, 'ids', EXHAUSTED} end
  if key ~= COUNTERS then return nil end
  for _, name in ipairs(request.counted) do
    local value = redis.call('HGET', key, name)
    local digits = value and string.match(value, '^-?(%d+)$')
    if value and not (digits and #digits <= 15) then -- as in smsd/store/lookup.py
      if request.repair then redis.call('HDEL', key, name) end
      return {key, 'count', 'has no number in ' .. name}
    end
  end
end

local function run(request, keys)
  local faults = {}
  for key, kind in pairs(KIND) do faults[#faults + 1] = fault_of(key, kind, request) end
  for i, key in ipairs(keys) do faults[#faults + 1] = fault_of(key, request.kinds[i], request) end
  return faults
end
