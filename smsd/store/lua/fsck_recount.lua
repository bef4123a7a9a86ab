-- fsck_recount: let a campaign count its recipients as they were found to be.
-- include: damage
-- takes: was, counts
-- keys: campaign
-- answers: absent | changed | counted
-- changes: campaign
--
-- Both are tables of fields. 'changed' where it does not count as it `was` counting any more.

local function run(request, keys)
  local campaign = keys[1]
  need_hash(campaign)
  if redis.call('EXISTS', campaign) == 0 then return 'absent' end
  local found = redis.call('HGETALL', campaign)
  for i = 1, #found, 2 do
    if string.sub(found[i], 1, 2) == 'n:' and request.was[found[i]] ~= found[i + 1] then return 'changed' end
  end
  for field in pairs(request.was) do redis.call('HDEL', campaign, field) end
  for field, many in pairs(request.counts) do redis.call('HSET', campaign, field, many) end
  return 'counted'
end
