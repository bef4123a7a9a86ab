-- fsck_listed: what lists a campaign that is not there.
-- takes: ids, names, repair
-- keys: campaigns, campaign_names, campaigns_active, any*
-- answers: {id, ...}
-- changes: campaigns, campaign_names, campaigns_active
--
-- Of each id its record, and the name that stands for it, if one does ('' if none). Repaired: it is listed no more.

local function run(request, keys)
  local campaigns, names, active = unpack(keys)
  local absent = {}
  for i, id in ipairs(request.ids) do
    if redis.call('EXISTS', keys[i + 3]) == 0 then
      absent[#absent + 1] = id
      if request.repair then
        redis.pcall('ZREM', campaigns, id)
        redis.pcall('SREM', active, id)
        if redis.pcall('HGET', names, request.names[i]) == id then redis.pcall('HDEL', names, request.names[i]) end
      end
    end
  end
  return absent
end
