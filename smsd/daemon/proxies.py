"""Which proxy a request goes through. Rule: the environment's only where that is asked for."""

from functools import lru_cache
from urllib.request import getproxies_environment, proxy_bypass

from smsd.config import ConfigError
from smsd.config.settings import ENVIRONMENT
from smsd.core import proxy
from smsd.core.proxy import Proxy
from smsd.provider.base import ProxyFor, direct


def proxy_for(written: str) -> ProxyFor:
    """The proxy for each address, as `[provider] proxy` says. Raises `ConfigError`."""
    if not written:
        return direct
    if written == ENVIRONMENT:
        return _of_environment()
    one = proxy.parse(written)
    return lambda _scheme, _host: one


def _of_environment() -> ProxyFor:
    """As $HTTPS_PROXY, $HTTP_PROXY and $NO_PROXY say."""
    said = getproxies_environment()
    proxies, faults = dict[str, Proxy](), []
    for scheme in proxy.SCHEMES:
        if url := said.get(scheme):
            try:
                proxies[scheme] = proxy.parse(url if "://" in url else f"http://{url}")
            except ValueError as error:
                faults.append(f"${scheme.upper()}_PROXY: {error}")
    if faults:
        raise ConfigError(faults)

    @lru_cache(maxsize=64)
    def chosen(scheme: str, host: str) -> Proxy | None:
        return None if proxy_bypass(host) else proxies.get(scheme)

    return chosen
