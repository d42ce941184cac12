// mysql2's pool with a secret that rotates.

import mysql from "mysql2/promise";

/** The errors of MySQL and MariaDB for a wrong password. */
const isRefused = (error) => error.errno === 1045 || error.errno === 1698;

/** `options` are those of mysql2's pool. With `maxIdle` and `idleTimeout`, connections that nobody uses end by themselves. */
export function pool(secret, options) {
  const credential = ({ username, password }) => ({ user: username, password });
  const made = mysql.createPool(options);
  const open = () => {
    // The pool makes each new connection with this.
    Object.assign(made.pool.config.connectionConfig, credential(secret.latest));
    return made.getConnection();
  };
  const prove = async (document) => {
    const { connectionLimit, ...own } = options;
    const connection = await mysql.createConnection({ ...own, ...credential(document) });
    await connection.end();
  };
  return {
    /** A connection of the pool. Give it back with `release()`. */
    connect: () => secret.connect(open, prove, isRefused),
    end: () => made.end(),
  };
}
