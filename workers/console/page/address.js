/** What follows a room's name in the page's address: `#traces/<id>`. */
import { useEffect, useState } from 'preact/hooks';

/** It stays while another room is shown; undefined: nothing follows. */
export function useAddress(room) {
  const read = (before) => {
    const [name, below] = location.hash.slice(1).split('/');
    return name === room ? below : before;
  };
  const [below, setBelow] = useState(() => read(undefined));
  useEffect(() => {
    const onHash = () => setBelow(read);
    addEventListener('hashchange', onHash);
    return () => removeEventListener('hashchange', onHash);
  }, []);
  return below;
}
