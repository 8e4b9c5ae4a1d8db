/* command */
#include "relaypool.h"
