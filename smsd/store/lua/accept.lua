-- accept: go on with this data, though other or newer data was known. Returns 'accepted', or 'other' where it is not the
-- data that was compared: a crash or another backup has replaced that.
-- Numbers go on from the highest that was given, and a daemon that knows only a former id accepts this one, too.
local function run(request)
  if redis.pcall('HGET', STORE, 'compared') ~= request.token then return 'other' end
  accept(request)
  return 'accepted'
end
