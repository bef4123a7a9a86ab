-- fsck_audiences: keys of audiences that belong to none and to no campaign, or are of a wrong type.
-- include: audience
-- takes: versions, repair
-- keys: audiences, audiences_unfinished, any*
-- answers: {{key, 'left' | 'foreign'}, ...}
-- changes: audience, contacts
--
-- Of each key its version, that version's state, its campaign, and the key itself. Repaired: it is removed.

-- One whose state is lost cannot be cleaned away.
local function is_unfinished(unfinished, state, version)
  local touched, buckets = redis.pcall('ZSCORE', unfinished, version), redis.pcall('HGET', state, 'buckets')
  return touched and type(buckets) == 'string' and whole_number(buckets, 1, MOST_BUCKETS)
end

local function fault_of(shared, version, state, campaign, key)
  local audiences, unfinished = unpack(shared)
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then return nil end
  local used = is_used(audiences, state, version, campaign)
  if not used and not is_unfinished(unfinished, state, version) then return 'left' end
  return kind ~= 'hash' and 'foreign' or nil
end

local function run(request, keys)
  local faults = {}
  for i, version in ipairs(request.versions) do
    local state, campaign, key = unpack(keys, 3 * i, 3 * i + 2)
    local what = fault_of(keys, version, state, campaign, key)
    if what then
      faults[#faults + 1] = {key, what}
      if request.repair then redis.call('UNLINK', key) end
    end
  end
  return faults
end
