/* connection */
#include "relaypool.h"
