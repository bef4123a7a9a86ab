-- fsck_audiences: keys of audiences that belong to none, or are of a wrong type.
-- include: audience
-- takes: versions, repair
-- keys: audiences, audiences_unfinished, any*
-- answers: {{key, 'left' | 'foreign'}, ...}
-- changes: audience, contacts
--
-- Of each key its version, that version's state, and the key itself. Repaired: it is removed.

-- One whose state is lost cannot be cleaned away.
local function is_unfinished(unfinished, state, version)
  local touched, buckets = redis.pcall('ZSCORE', unfinished, version), redis.pcall('HGET', state, 'buckets')
  return touched and type(buckets) == 'string' and whole_number(buckets, 1, MOST_BUCKETS)
end

local function fault_of(audiences, unfinished, version, state, key)
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then return nil end
  if not is_seen(audiences, state, version) and not is_unfinished(unfinished, state, version) then return 'left' end
  return kind ~= 'hash' and 'foreign' or nil
end

local function run(request, keys)
  local faults = {}
  for i, version in ipairs(request.versions) do
    local state, key = keys[2 * i + 1], keys[2 * i + 2]
    local what = fault_of(keys[1], keys[2], version, state, key)
    if what then
      faults[#faults + 1] = {key, what}
      if request.repair then redis.call('UNLINK', key) end
    end
  end
  return faults
end
