-- accept: go on with this data, though other or newer data was known. Returns 'accepted', or 'other' where it is not the
-- data that was compared: a crash or another backup has replaced that.
-- Numbers go on from the highest that was given, and a daemon that knows only a former id accepts this one, too.
-- Let this data count as what was known: `ids` of it and of what that replaced, `settled` of it.
local MOST_REPLACED = 16
local function accept(known)
  local id, replaces, settled = unpack(identity())
  local ids = {}
  for one in string.gmatch(replaces .. ',' .. known.ids, '[^,]+') do
    if one ~= id and not is_listed(one, table.concat(ids, ',')) then ids[#ids + 1] = one end
  end
  while #ids > MOST_REPLACED do table.remove(ids, 1) end
  open_the_door()
  redis.call('HSET', STORE, 'settled', string.format('%d', math.max(settled, known.settled)))
  if #ids > 0 then redis.call('HSET', STORE, 'replaces', table.concat(ids, ',')) end
end

local function run(request)
  if redis.pcall('HGET', STORE, 'compared') ~= request.token then return 'other' end
  accept(request)
  return 'accepted'
end
