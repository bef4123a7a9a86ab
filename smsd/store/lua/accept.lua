-- accept: go on with this data, though other or newer data was known.
-- include: full, identity
-- takes: token, ids, settled
-- keys: none
-- answers: accepted | other
-- changes: store
--
-- 'other' where it is not the data that was compared (`token`): a crash or another backup has replaced that. Numbers go
-- on from the highest that was given, and a daemon that knows only a former id accepts this data, too.

local MOST_REPLACED = 16
local function accept(request)
  local id, replaces, settled = unpack(identity())
  local ids = {}
  for one in string.gmatch(replaces .. ',' .. request.ids, '[^,]+') do
    if one ~= id and not is_listed(one, table.concat(ids, ',')) then ids[#ids + 1] = one end
  end
  while #ids > MOST_REPLACED do table.remove(ids, 1) end
  allow_writes_while_full()
  redis.call('HSET', STORE, 'settled', string.format('%d', math.max(settled, request.settled)))
  if #ids > 0 then redis.call('HSET', STORE, 'replaces', table.concat(ids, ',')) end
end

local function run(request)
  if redis.pcall('HGET', STORE, 'compared') ~= request.token then return 'other' end
  accept(request)
  return 'accepted'
end
